"""What a model card needs besides the network's own part, for checkpoints that tests write."""
from typing import Any

from extract.decoding.sampling import FrameOptions
from extract.faces.detector import FaceOptions
from pipeline.options import as_record

JUDGING: dict[str, Any] = {"aggregation": "mean", "threshold": 0.5, "split_hash": "", "versions": {},
                           "frames": as_record(FrameOptions()), "faces": as_record(FaceOptions())}
