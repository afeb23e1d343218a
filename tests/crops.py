"""A run's folder as extraction and the split leave it, with crops whose labels can be learned."""
from pathlib import Path

import cv2
import numpy as np

from extract.layouts.base import row
from pipeline.run_record import RunRecord
from pipeline.tables import FACES, INDEX, SPLIT, write_json, write_table


def write_noise_crops(out: Path, n_train: int, n_real: int, n_val: int) -> Path:
    """Noise crops, fakes a little redder: n_train training videos, n_real of them real, and n_val validation videos,
    real and fake in turn, of 3 crops each."""
    RunRecord(out).write()
    rng = np.random.default_rng(0)
    split, faces = [], []
    for number in range(n_train + n_val):
        part = "train" if number < n_train else "val"
        label = int(number >= n_real) if part == "train" else number % 2
        video = f"{number:03d}.mp4"
        split.append({"video_id": video, "label": label, "part": part, "group": video})
        (out / "faces" / video).mkdir(parents=True)
        for frame in range(3):
            picture = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            picture[..., 0] = np.clip(picture[..., 0] + 60.0 * label, 0, 255)
            name = f"{video}/{frame:06d}.png"
            cv2.imwrite(str(out / "faces" / name), picture[..., ::-1])
            faces.append({**dict.fromkeys(FACES, 0), "video_id": video, "frame": frame, "time_s": frame, "crop": name})
    write_table(out / "index.csv", [row(entry["video_id"], entry["label"], "x") for entry in split], INDEX)
    write_table(out / "split.csv", split, SPLIT)
    write_table(out / "faces" / "faces.csv", faces, FACES)
    write_json(out / "split.json", {"split_hash": "abc"})
    write_json(out / "faces" / "options.json", {"frames": {"every": 3.0}, "faces": {}, "dataset": "x"})
    return out
