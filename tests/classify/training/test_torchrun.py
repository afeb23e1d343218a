"""Training in two processes of torchrun, one of which is killed: torchrun starts both again, and they go on."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.crops import write_noise_crops

FLAGS = ["--backbone", "resnet10t", "--weights", "none", "--size", "32", "--device", "cpu", "--batch", "16", "--lr",
         "1e-3", "--epochs", "5", "--patience", "0", "--resume"]
LIMIT_S = 600


def started(out):
    return subprocess.Popen([sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone",
                             "--nproc-per-node", "2", "--max-restarts", "2", "-m", "classify.train", "--out", str(out),
                             *FLAGS], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "RUN_OF": str(out)})


def second_process(out):
    """The process id of rank 1 of the run on `out`."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            said = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"RUN_OF={out}".encode() in said and b"RANK=1" in said:
            return int(pid)
    raise AssertionError("no second process")


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("TEST_TORCHRUN"), reason="after a restart the processes sometimes wait for "
                    "each other until gloo's limit of 30 minutes; TEST_TORCHRUN=1 runs it all the same")
def test_a_killed_process_is_started_again_and_the_model_is_that_of_an_undisturbed_run(tmp_path):
    made = {}
    for name in ("undisturbed", "killed"):
        out = write_noise_crops(tmp_path / name, n_train=48, n_real=12, n_val=12)
        process, until = started(out), time.monotonic() + LIMIT_S
        if name == "killed":
            while not any(len(table.read_text().splitlines()) >= 3 for table in out.rglob("epochs.csv")):
                assert process.poll() is None and time.monotonic() < until, process.stderr.read()
                time.sleep(.02)
            os.kill(second_process(out), signal.SIGKILL)
        _, errors = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, errors
        assert ("exitcode: -9" in errors) == (name == "killed"), errors
        made[name] = [(out / "model" / file).read_bytes() for file in ("model.safetensors", "epochs.csv")]
    assert made["killed"] == made["undisturbed"]
