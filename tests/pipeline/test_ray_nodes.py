"""Extraction on two Ray nodes of this machine from and to S3: a node and then the driver are killed on the way."""
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest

from extract import corpus, run
from pipeline.storage import place
from tests import s3 as server

s3, s3_server = server.s3, server.s3_server

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
LIMIT_S = 500


def digests(files):
    """name -> digest of every crop and table; rows hold times of files and are left out."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()
            if name.endswith((".png", "faces.csv", "videos.csv"))}


def rows_of(out):
    """name of each row that is there -> its stamp on the server."""
    return {name: stamp for name, stamp in place(f"{out}/faces").files().items() if name.endswith("row.json")}


@pytest.fixture
def two_nodes(monkeypatch, s3):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2 ** 20})
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2 ** 20)
    cluster.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


@needs_ray
@pytest.mark.slow
def test_a_node_and_the_driver_are_killed_and_the_run_ends_as_a_local_one(two_nodes, s3, demo_corpus, tmp_path):
    local = tmp_path / "local"
    clips = sorted(path for path in demo_corpus.rglob("*") if path.is_file())
    bucket = place(f"{s3}/demo")
    for path in clips:
        (bucket / path.relative_to(demo_corpus).as_posix()).write_bytes(path.read_bytes())
    out = f"{s3}/out"
    assert corpus.main(["--out", str(local), "--corpus", str(demo_corpus)]) == 0
    assert run.main(["--out", str(local), "--workers", "0", "--device", "cpu"]) == 0
    assert corpus.main(["--out", out, "--corpus", str(bucket)]) == 0
    command = [sys.executable, "-W", "ignore", "-m", "extract.run", "--out", out, "--engine", "ray", "--device", "cpu"]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def wait_for(n):
        until = time.monotonic() + LIMIT_S
        while len(rows_of(out)) < n:
            assert driver.poll() is None and time.monotonic() < until, driver.stderr.read().decode()
            time.sleep(.1)

    wait_for(2)
    two_nodes.remove_node(two_nodes.second, allow_graceful=False)
    wait_for(4)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    time.sleep(5)  # a video that was on its way is written, or lost with its worker
    before = rows_of(out)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert before and before == {name: stamp for name, stamp in rows_of(out).items() if name in before}  # none anew
    remote = place(f"{out}/faces")
    assert digests({name: (remote / name).read_bytes() for name in remote.files()}) == digests(
        {path.relative_to(local / "faces").as_posix(): path.read_bytes() for path in (local / "faces").rglob("*")
         if path.is_file()})
