"""Where a model errs: methods and people worst first, and false calls with the face that misled it most.

Shares come with exact intervals, which take clips as independent: those of one person are not, so rather too narrow.
Rows are those of classify.evaluation.metrics.videos_of; what could not be judged is counted beside, and in no share.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from classify.evaluation.bootstrap import exact
from extract.decoding.image import read_picture, whole_square
from pipeline.errors import VideoError

if TYPE_CHECKING:
    import pandas as pd

THUMBNAIL_PX = 112   # side; twice what a face needs to be recognised, half of a stored crop
JPEG_QUALITY = 80


def methods(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Recall of each method's fakes: [{name, n, called, failed, share, low, high}], the least found first."""
    shares = [_share(str(name), own) for name, own in rows[rows["label"] == 1].groupby("method")]
    return sorted(shares, key=lambda s: (2.0 if s["share"] is None else s["share"], s["name"]))


def people(rows: pd.DataFrame, person_of: Mapping[str, str]) -> list[dict[str, Any]]:
    """False alarms on the real clips of each person: as `methods`, the most first; [] where people are not known.

    person_of: video_id -> who was filmed, "" where unknown.
    """
    reals = rows[rows["label"] == 0]
    reals = reals.assign(person=[person_of.get(video_id, "") for video_id in reals["video_id"]])
    shares = [_share(str(name), own) for name, own in reals[reals["person"] != ""].groupby("person")]
    return sorted(shares, key=lambda s: (1.0 if s["share"] is None else -s["share"], -s["n"], s["name"]))


def _share(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    """How many of the judged rows were called FAKE."""
    n, called = int(rows["judged"].sum()), int((rows["judged"] & (rows["call"] == 1)).sum())
    low, high = exact(called, n) if n else (None, None)
    return {"name": name, "n": n, "called": called, "failed": len(rows) - n, "share": called / n if n else None,
            "low": low, "high": high}


def false_calls(rows: pd.DataFrame, frames: pd.DataFrame, faces: Path, threshold: float,
                n_faces: int) -> list[dict[str, Any]]:
    """All false calls, the furthest from the threshold first: the columns of `rows`, `frames` and `face`.

    frames: with the columns of FRAME_SCORES; those of a call are [{time_s, score}] in time order. faces: folder of the
    crops. face: {time_s, score, jpeg} of the frame that speaks loudest for the false call, for the first `n_faces`
    calls; None for the others, and where no crop is stored.
    """
    wrong = rows[rows["judged"] & (rows["call"] != rows["label"])]
    wrong = wrong.assign(far=(wrong["score"] - threshold).abs()).sort_values(["far", "video_id"],
                                                                             ascending=[False, True])
    own = {name: group.sort_values("frame").to_dict("records")
           for name, group in frames[frames["video_id"].isin(wrong["video_id"])].groupby("video_id")}
    calls: list[dict[str, Any]] = wrong.to_dict("records")
    for i, call in enumerate(calls):
        seen = own.get(call["video_id"], [])
        call["frames"] = [{"time_s": frame["time_s"], "score": frame["score"]} for frame in seen]
        loudest = max(seen, key=lambda frame: frame["score"] * (1 if call["call"] else -1), default=None)
        jpeg = thumbnail(faces / loudest["crop"]) if loudest and loudest["crop"] and i < n_faces else None
        call["face"] = {"time_s": loudest["time_s"], "score": loudest["score"], "jpeg": jpeg} if loudest and jpeg \
            else None
    return calls


def thumbnail(crop: Path) -> bytes | None:
    """A small JPEG of a stored crop, or of a picture as it is judged whole; None where there is none that can be
    read."""
    try:
        small = cv2.cvtColor(whole_square(read_picture(crop), THUMBNAIL_PX), cv2.COLOR_RGB2BGR)
    except VideoError:
        return None
    ok, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return jpeg.tobytes() if ok else None
