"""What judging costs without torch, as ratios and limits: `make bench-judge`.

CPU seconds of whole processes, the variants in turns, medians; wall seconds beside them, which a busy machine
stretches. The floor of a cold verdict: importing the libraries, and decoding the packets that the sampled frames need.
Every ratio has its loss beside it: on all clips of CORPUS, do torch and ONNX Runtime give the same answer?
"""
from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Sequence

from pipeline.errors import PipelineError, command
from tests.benchmarks.extract import cpu_s, needed_packets

TURNS = 5
IMPORTS = "import numpy, cv2, av, onnxruntime"
COLD_MORE_S = .5        # beyond the floor
WARM = (1.25, .15)      # times decoding the needed packets, and seconds more
PEAK_MB, WORKER_MB = 300, 400
SAME_SCORE = 2e-3


class Run(NamedTuple):
    """One process: CPU and wall seconds, peak of resident memory in MB."""

    cpu: float
    wall: float
    peak_mb: float


def run(arguments: Sequence[str]) -> Run:
    """Run Python with these arguments. Raises PipelineError where it fails."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise PipelineError(f"{' '.join(arguments)} ended with {process.returncode}")
    return Run(used.ru_utime + used.ru_stime, time.monotonic() - start, used.ru_maxrss / 1024)


def medians(runs: Sequence[Run]) -> Run:
    return Run(*(statistics.median(values) for values in zip(*runs)))


def spent(function: Callable[[], Any]) -> float:
    """CPU seconds that a call takes."""
    start = cpu_s()
    function()
    return cpu_s() - start


def say(name: str, value: float, limit: float, unit: str, more: str = "") -> None:
    verdict = "pass" if value <= limit else "MISS"
    print(f"{name:52} {value:7.2f} {unit}   limit {limit:6.2f}  {verdict}  {more}".rstrip(), flush=True)


def cold(clip: Path, sheet: Path) -> None:
    """A verdict in a new process, and one with a sheet, beside the floor."""
    judge = ["-m", "classify.video", str(clip)]
    variants = {"floor": ["-c", IMPORTS], "verdict": judge, "sheet": [*judge, "--report", str(sheet)]}
    runs: dict[str, list[Run]] = {name: [] for name in variants}
    decode, decoding = needed_packets(clip), []
    for _ in range(TURNS):
        for name, arguments in variants.items():
            runs[name].append(run(arguments))
        decoding.append(spent(decode))
    found = {name: medians(own) for name, own in runs.items()}
    floor = found["floor"].cpu + statistics.median(decoding)
    say(f"cold verdict, {clip.name}", found["verdict"].cpu, floor + COLD_MORE_S, "CPU s",
        f"floor {floor:.2f}; wall {found['verdict'].wall:.2f} s")
    say(f"cold verdict with a sheet, {clip.name}", found["sheet"].cpu, 2.0, "CPU s",
        f"wall {found['sheet'].wall:.2f} s")
    say(f"peak memory of a verdict, {clip.name}", found["verdict"].peak_mb, PEAK_MB, "MB")


def warm(clip: Path) -> None:
    """A verdict of a loaded model, beside decoding the needed packets."""
    from classify.judging.judge import Judge
    from classify.models.shipped import SHIPPED

    judge, decode = Judge(SHIPPED, "cpu"), needed_packets(clip)
    judge.judge(clip)
    pairs = [(spent(lambda: judge.judge(clip)), spent(decode)) for _ in range(TURNS)]
    verdict, decoding = (statistics.median(values) for values in zip(*pairs))
    say(f"warm verdict, {clip.name}", verdict, WARM[0] * decoding + WARM[1], "CPU s", f"decoding {decoding:.2f}")


def beside_torch(clips: Sequence[Path]) -> None:
    """CPU a frame of detection and of the network, over torch's; and whether the verdicts are the same."""
    import numpy as np
    import torch

    from classify.judging.judge import Judge
    from classify.models.load import scores_of_pictures
    from classify.models.shipped import SHIPPED
    from extract.decoding.sampling import Clip, FrameOptions
    from extract.faces.torch_nets import TorchNets

    torch.set_num_threads(1)
    ours, theirs = Judge(SHIPPED, "cpu"), Judge(SHIPPED.with_suffix(".safetensors"), "cpu")
    theirs.detector._cascade.nets = TorchNets("cpu")  # type: ignore[union-attr]
    frames = [frame.rgb for clip in clips[::6] for frame in Clip(clip, FrameOptions()).frames()]
    side = ours.card["size_px"]
    inputs = np.random.default_rng(0).integers(0, 256, (6, side, side, 3), dtype=np.uint8)
    detect = [(spent(lambda: [ours.detector.detect([f]) for f in frames]),
               spent(lambda: [theirs.detector.detect([f]) for f in frames])) for _ in range(TURNS)]
    score = [tuple(spent(lambda: [scores_of_pictures(judge.net, inputs, "cpu") for _ in range(5)])  # noqa: B023
                   for judge in (ours, theirs)) for _ in range(TURNS)]
    say("detection / torch's", statistics.median(a / b for a, b in detect), 1.0, "",
        f"{1000 * statistics.median(a for a, _ in detect) / len(frames):.1f} CPU ms a frame")
    say("judging a face / torch's", statistics.median(a / b for a, b in score), 1.0, "",
        f"{1000 * statistics.median(a for a, _ in score) / len(inputs) / 5:.1f} CPU ms a face")
    pairs = [(ours.judge(clip), theirs.judge(clip)) for clip in clips]
    same = sum((a.verdict, a.n_faces) == (b.verdict, b.n_faces) for a, b in pairs)
    furthest = max((abs(a.score - b.score) for a, b in pairs if a.score is not None and b.score is not None), default=0)
    say(f"verdicts that differ from torch's, of {len(pairs)}", len(pairs) - same, 0, "",
        f"scores within {furthest:.1e}")
    if furthest > SAME_SCORE:
        print(f"a score differs by {furthest:.1e}, at most {SAME_SCORE} is allowed: MISS")


def extraction_worker(clips: Sequence[Path]) -> None:
    """Memory of a process that has extracted every clip."""
    code = """if True:
        import sys, cv2
        from extract.decoding.sampling import FrameOptions
        from extract.faces.detector import Detector, FaceOptions
        from extract.video import extract_video

        cv2.setNumThreads(0)
        detector = Detector(FaceOptions(), "cpu")
        for clip in sys.argv[1:]:
            extract_video(clip, detector, FrameOptions())
    """
    say(f"peak memory of an extraction worker, {len(clips)} clips", run(["-c", code, *map(str, clips)]).peak_mb,
        WORKER_MB, "MB")


@command
def main(argv: list[str] | None = None) -> int:
    import tempfile

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.judge",
                                     description="Measure what judging costs without torch.")
    parser.add_argument("--corpus", type=Path, required=True, help="folder that holds Celeb-DF-v2 and FaceForensics++")
    arguments = parser.parse_args(argv)
    clips = sorted(arguments.corpus.rglob("*.mp4"))
    small, large = (next((clip for clip in clips if name in str(clip)), None) for name in ("Celeb-DF", "FaceForensics"))
    if small is None or large is None:
        raise PipelineError(f"{arguments.corpus} holds no clips of Celeb-DF and FaceForensics++")
    with tempfile.TemporaryDirectory() as folder:
        for clip in (small, large):
            cold(clip, Path(folder) / "sheet.html")
    for clip in (small, large):
        warm(clip)
    extraction_worker(clips)
    beside_torch(clips)
    return 0


if __name__ == "__main__":
    sys.exit(main())
