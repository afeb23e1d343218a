"""`make bench-extract`: what extraction costs against the usual loop and against the floor, as ratios.

The variants of a check take turns on the same clips in one run, so that a busy machine hits them alike; the ratio of
each round is taken and the median printed. CPU seconds of this process and its children, one thread; workers in wall
seconds. Beside each ratio stands what was lost for it: frames that differ from a sequential decode, frames in which the
main face is not that of facenet-pytorch at full size.
The usual loop is what public pipelines do: OpenCV reads every frame, facenet-pytorch looks at the sampled ones at full
size, crops are written as PNG. Without real clips, clips are encoded from the demo's drawing.
"""
from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from pipeline.errors import PipelineError, command

EVERY_S = 3.0
ROUNDS = 3
Variant = Callable[[], Any]
# What is compared, the limit, and whether the ratio must stay below (<=) or above (>=) it; None: only told.
LIMITS: dict[str, tuple[str, float] | None] = {
    "sampler / full decode, Celeb-DF v2": ("<=", 0.20), "sampler / full decode, FaceForensics++": ("<=", 0.75),
    "sampler / full decode, GOP 250": ("<=", 0.60), "sampler / floor, Celeb-DF v2": None,
    "sampler / floor, FaceForensics++": None, "sampler / floor, GOP 250": None,
    "usual loop / ours, Celeb-DF v2": (">=", 7.5), "usual loop / ours, FaceForensics++": (">=", 5.2),
    "usual loop / ours, 1080p": (">=", 7.2), "facenet-pytorch / own detector, 500p": (">=", 3.5),
    "facenet-pytorch / own detector, 720p": (">=", 6.0), "facenet-pytorch / own detector, 1080p": (">=", 12.0),
    "two workers / one": (">=", 1.8)}
SAME_FACES = 0.95  # share of frames in which the main face must be facenet-pytorch's


def usual_loop(path: Path, mtcnn, folder: Path) -> None:
    """Read all, detect at full size, write PNG crops."""
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    step = max(1, round(capture.get(cv2.CAP_PROP_FPS) * EVERY_S))
    number = 0
    while True:
        ok, bgr = capture.read()
        if not ok:
            break
        if number % step == 0:
            boxes, _ = mtcnn.detect(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            for x0, y0, x1, y1 in [] if boxes is None else boxes[:1].astype(int).clip(0):
                crop = bgr[y0:y1, x0:x1]
                if crop.size:
                    cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(crop, (224, 224)))
        number += 1
    capture.release()


def ours(path: Path, detector, folder: Path) -> None:
    """extract_video and the crops as PNG, as `make extract` does."""
    import cv2

    from extract.decoding.sampling import FrameOptions
    from extract.video import extract_video

    for number, crop in extract_video(path, detector, FrameOptions(every=EVERY_S, min_frames=1)).crops.items():
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))


def sample(path: Path) -> None:
    """The sampler alone."""
    from extract.decoding.sampling import Clip, FrameOptions

    for _ in Clip(path, FrameOptions(every=EVERY_S, min_frames=1)).frames():
        pass


def decode_all(path: Path) -> None:
    """Every frame decoded in order, none converted."""
    import av

    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass


def needed_packets(path: Path) -> Callable[[], None]:
    """The floor: demux, and decode from the key frame before each sample to it; nothing is planned or converted."""
    import av

    from extract.decoding.sampling import Clip, FrameOptions

    clip = Clip(path, FrameOptions(every=EVERY_S, min_frames=1))
    with av.open(str(path)) as container:
        packets: list[Any] = [(p.pts, p.is_keyframe) for p in container.demux(video=0) if p.size]
    shown = sorted(pts for pts, _ in packets)
    samples = [shown[number] for number in clip.wanted]
    keys = sorted(pts for pts, key in packets if key)
    starts = {max(k for k in keys if k <= sample) for sample in samples}

    def decode() -> None:
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            context.thread_count = 1
            left, on = list(samples), False
            packet: Any
            for packet in container.demux(video=0):
                on = on or packet.pts in starts
                if not left:
                    return
                if on:
                    context.skip_frame = "NONREF" if packet.size and packet.pts < left[0] else "DEFAULT"
                    frame: Any
                    for frame in packet.decode():
                        if left and frame.pts >= left[0]:
                            left.pop(0)
                            on = bool(left) and not any(frame.pts < s <= left[0] for s in starts)

    return decode


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def ratio(first: Variant, second: Variant) -> float:
    """CPU seconds of the first over those of the second, median of rounds in turns after one unmeasured round."""
    ratios = []
    for round_ in range(ROUNDS + 1):
        spent = []
        for variant in (first, second):
            start = cpu_s()
            variant()
            spent.append(cpu_s() - start)
        if round_:
            ratios.append(spent[0] / spent[1])
    return statistics.median(ratios)


def each(function: Callable[..., Any], paths: Sequence[Path], *rest: Any) -> Variant:
    """A variant that calls function(path, *rest) for every path."""

    def variant() -> None:
        for path in paths:
            function(path, *rest)

    return variant


def two_workers_over_one(paths: Sequence[Path]) -> float:
    """Clips per wall second, from the first result on, so that starting the processes does not count."""
    from extract.decoding.sampling import FrameOptions
    from extract.faces.detector import FaceOptions
    from extract.run import extract_one, start_worker
    from extract.store import Store
    from pipeline.parallel import map_unordered

    def rate(workers: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder), {})
            start_args: tuple = (paths[0].parent, store, FrameOptions(every=EVERY_S, min_frames=1), FaceOptions(),
                                 "cpu")
            names = [path.name for path in paths] * max(1, 36 // len(paths))
            # Distinct names, so that no two workers write one folder: x/../y is y.
            items = [(f"{'./' * number}{name}", None, None) for number, name in enumerate(names)]
            times = [time.monotonic() for _ in map_unordered(extract_one, items, workers, start_worker, start_args)]
        return (len(times) - workers) / (times[-1] - times[workers - 1])

    return statistics.median(rate(2) / rate(1) for _ in range(ROUNDS))


def identical(paths: Sequence[Path]) -> str:
    """How many sampled frames are, bit for bit, those of a sequential decode."""
    import av
    import numpy as np

    from extract.decoding.sampling import Clip, FrameOptions

    same = n = 0
    for path in paths:
        sampled = {frame.number: frame.rgb for frame in Clip(path, FrameOptions(every=EVERY_S, min_frames=1)).frames()}
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in sampled:
                    n += 1
                    same += np.array_equal(sampled[number], frame.to_ndarray(format="rgb24"))
    return f"{same} of {n} frames bit-identical"


class Agreement:
    """The main faces of our detector beside those of facenet-pytorch at full size, on the sampled frames of clips.

    agree: one bool per frame in which facenet-pytorch is SURE of a face: ours overlaps the largest such face, by an
    intersection over union of at least .5. lost: the faces that it is SURE of and that no face of ours overlaps by .3.
    """

    def __init__(self, paths: Sequence[Path], mtcnn, detector):
        from extract.decoding.sampling import Clip, FrameOptions
        from extract.faces.detector import SURE, overlap

        self.agree: list[bool] = []
        self.lost: list[str] = []
        for path in paths:
            for frame in Clip(path, FrameOptions(every=EVERY_S, min_frames=1)).frames():
                boxes, sure = mtcnn.detect(frame.rgb)
                theirs = [] if boxes is None else [box for box, p in zip(boxes, sure) if p >= SURE]
                if not theirs:
                    continue
                ours = detector.detect([frame.rgb])[0]
                main = max(theirs, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
                self.agree.append(bool(ours) and overlap(main, ours[0].box) >= 0.5)
                self.lost += [f"{path.name} at {frame.time_s:.1f} s, {box[2] - box[0]:.0f} px wide" for box in theirs
                              if not any(overlap(box, face.box) >= 0.3 for face in ours)]

    def __str__(self) -> str:
        return f"main face agrees in {sum(self.agree)} of {len(self.agree)} frames"

    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval of the share (Clopper and Pearson 1934), frames taken as independent."""
        from scipy.stats import beta

        k, n = sum(self.agree), len(self.agree)
        return (float(beta.ppf(.025, k, n - k + 1)) if k else 0.0,
                float(beta.ppf(.975, k + 1, n - k)) if k < n else 1.0)


def clips_of(corpus: Path | None, folder: Path) -> dict[str, list[Path]]:
    """Clips by kind: real ones from `corpus` (a folder with Celeb-DF-v2 and FaceForensics++), else encoded ones."""
    kinds: dict[str, list[Path]] = {"GOP 250": [_encode(folder / "gop250.mp4", 944, 500, 13)],
                                    "1080p": [_encode(folder / "1080p.mp4", 1920, 1080, 10)]}
    for name, inside in (("Celeb-DF v2", "Celeb-DF-v2"), ("FaceForensics++", "FaceForensics++")):
        found = sorted((corpus / inside).rglob("*.mp4")) if corpus else []
        if found:
            kinds[name] = found[:12]
    return kinds


def all_clips(corpus: Path | None, kinds: dict[str, list[Path]]) -> list[Path]:
    """Every clip on which agreement is measured: all of `corpus`, and the encoded ones."""
    return sorted({*corpus.rglob("*.mp4")} if corpus else {}) + kinds["GOP 250"] + kinds["1080p"]


def _encode(path: Path, width: int, height: int, seconds: float) -> Path:
    """A clip of the demo's drawing, enlarged, H.264 with a key frame every 250, as x264 makes by default."""
    import av
    import cv2

    from data.demo.make import DemoOptions, plan, stage

    options = DemoOptions(seconds=seconds, fps=30)
    scene, _, _ = stage(options, plan(options)[0])
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"g": "250", "crf": "23", "preset": "medium"}
        for number in range(round(seconds * 30)):
            drawn: Any = cv2.resize(scene.draw(number / 30, [])[0], (width, height), interpolation=cv2.INTER_CUBIC)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def measure(corpus: Path | None, report: Callable[[str, float, str], None]) -> Agreement:
    """Run all checks; report(name, ratio, what was lost for it) is called as each is known."""
    import cv2
    import torch
    from facenet_pytorch import MTCNN

    from extract.faces.detector import Detector, FaceOptions

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    detector, mtcnn = Detector(FaceOptions(), "cpu"), MTCNN(keep_all=True, device="cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = clips_of(corpus, folder)
        for kind, paths in kinds.items():
            if f"sampler / full decode, {kind}" in LIMITS:
                same = identical(paths)
                report(f"sampler / full decode, {kind}", ratio(each(sample, paths), each(decode_all, paths)), same)
                floors = [needed_packets(path) for path in paths]
                report(f"sampler / floor, {kind}", ratio(each(sample, paths), lambda: [f() for f in floors]), same)
            if f"usual loop / ours, {kind}" in LIMITS:
                report(f"usual loop / ours, {kind}", ratio(each(usual_loop, paths, mtcnn, folder),
                                                           each(ours, paths, detector, folder)),
                       str(Agreement(paths, mtcnn, detector)))
        whole = Agreement(all_clips(corpus, kinds), mtcnn, detector)
        for size, width, height in (("500p", 944, 500), ("720p", 1280, 720), ("1080p", 1920, 1080)):
            frames = [cv2.resize(frame, (width, height)) for frame in _frames(kinds)]
            report(f"facenet-pytorch / own detector, {size}", ratio(lambda: [mtcnn.detect(f) for f in frames],
                                                                    lambda: [detector.detect([f]) for f in frames]),
                   str(whole))
        report("two workers / one", two_workers_over_one(next(iter(sorted(kinds.items())))[1]), "")
    return whole


def _frames(kinds: dict[str, list[Path]]) -> list:
    from extract.decoding.sampling import Clip, FrameOptions

    paths = kinds.get("FaceForensics++") or kinds["1080p"]
    return [next(Clip(path, FrameOptions()).frames()).rgb for path in paths]


@command
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.extract",
                                     description="Measure what extraction costs against the usual loop.")
    parser.add_argument("--corpus", type=Path, help="folder that holds Celeb-DF-v2 and FaceForensics++ (or parts)")
    arguments = parser.parse_args(argv)
    if arguments.corpus and not arguments.corpus.is_dir():
        raise PipelineError(f"{arguments.corpus} is not a folder")
    missed = []

    def report(name: str, value: float, lost: str) -> None:
        limit, verdict = LIMITS[name], ""
        if limit:
            passed = value <= limit[1] if limit[0] == "<=" else value >= limit[1]
            missed.extend([] if passed else [name])
            verdict = f"limit {limit[0]} {limit[1]:<5g} {'pass' if passed else 'MISS'}"
        print(f"{name:40} {value:6.2f}   {verdict:20}  {lost}".rstrip(), flush=True)

    whole = measure(arguments.corpus, report)
    low, high = whole.interval()
    enough = sum(whole.agree) >= SAME_FACES * len(whole.agree)
    print(f"{whole} ({low:.3f} to {high:.3f}), at least {SAME_FACES} asked: {'pass' if enough else 'MISS'}; "
          f"{len(whole.lost)} faces lost that facenet-pytorch is sure of")
    print("".join(f"  lost: {face}\n" for face in whole.lost), end="")
    missed += [] if enough else ["agreement"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
