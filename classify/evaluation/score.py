"""Score crops with a network, and turn the scores of a run's held-out videos into verdicts."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

from classify.evaluation.options import ScoreOptions
from classify.models.card import read_card
from pipeline import stages
from pipeline.errors import CheckpointError, SplitError, TableError
from pipeline.progress import progress_bar
from pipeline.tables import (
    FACES,
    FRAME_SCORES,
    INDEX,
    METHOD_GUESSES,
    SPLIT,
    VIDEO_SCORES,
    VIDEOS,
    read_json,
    read_table,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def scored_by(out: Path, model_id: Any) -> Path | None:
    """Return the checkpoint below OUT that made scores with this model_id: trained there, or an ensemble."""
    for path in sorted((out / "model").glob("*")):
        if path.suffix in (".safetensors", ".keras"):
            try:
                if model_id and read_card(path)["model_id"] == model_id:
                    return path
            except CheckpointError:  # of an older version
                continue
    return None


def score_crops(net, card: dict[str, Any], rows: pd.DataFrame, out: Path, options: ScoreOptions) -> np.ndarray:
    """P(fake) in [0, 1] of each row's crop, float64 (n,). rows: columns crop and label, of OUT/faces/faces.csv."""
    from data.loading.pack import Pack

    pack = Pack(out, card["size_px"], card["centre"])
    return score_pictures(net, pack.pictures, pack.numbers(rows["crop"]), options)


def score_pictures(net, pictures: np.ndarray, places: np.ndarray, options: ScoreOptions,
                   progress: bool = True) -> np.ndarray:
    """P(fake) in [0, 1] of the pictures at these places, float64 (n,). pictures: uint8 RGB (m, size_px, size_px, 3)."""
    import numpy as np

    from classify.models.onnx import OnnxNet

    scores = np.full(len(places), np.nan)
    if isinstance(net, OnnxNet):
        for start in progress_bar(range(0, len(places), options.batch), desc="score", unit="step", leave=False,
                                  disable=not progress):
            batch = pictures[places[start:start + options.batch]]
            scores[start:start + options.batch] = net.scores(batch).astype(np.float64).round(6)
        return scores
    from classify.models.network import scores_of
    from data.loading.batches import Batches, InOrder

    batches = Batches(pictures, places, np.zeros(len(places), np.int64), InOrder(len(places), options.batch))
    device = next(net.parameters()).device
    net.eval()
    for batch in progress_bar(batches, desc="score", unit="step", leave=False, disable=not progress):
        scored = scores_of(net, batch.pictures.to(device)).cpu().numpy()
        scores[batch.rows.numpy()] = scored.astype(np.float64).round(6)
    return scores


def guessed_methods(net, card: dict[str, Any], rows: pd.DataFrame, out: Path, options: ScoreOptions) -> pd.DataFrame:
    """Per video what a network with a second head holds for its method: columns video_id, guess, share in [0, 1].

    share: mean over the video's crops of the probability of that method, were it a fake.
    """
    import numpy as np
    import pandas as pd

    from classify.models.network import methods_of
    from data.loading.batches import Batches, InOrder
    from data.loading.pack import Pack

    pack = Pack(out, card["size_px"], card["centre"])
    device = next(net.parameters()).device
    batches = Batches(pack.pictures, pack.numbers(rows["crop"]), rows["label"], InOrder(len(rows), options.batch))
    shares = np.concatenate([methods_of(net.eval(), batch.pictures.to(device)).cpu().numpy() for batch in batches])
    means = pd.DataFrame(shares, columns=card["methods"]).groupby(rows["video_id"].to_numpy()).mean()
    return pd.DataFrame({"video_id": means.index, "guess": means.idxmax(axis=1).to_numpy(),
                         "share": means.max(axis=1).round(6).to_numpy()})


def video_scores(videos: pd.DataFrame, frames: pd.DataFrame, card: dict[str, Any]) -> pd.DataFrame:
    """Add score, verdict and a reason to rows of tables.VIDEOS with their modality. frames: columns video_id, score."""
    from classify.judging.judge import decide, needed_faces

    by_video = {v: group.tolist() for v, group in frames.groupby("video_id")["score"]}
    out = videos.copy()
    decided = [decide(by_video.get(v, []), card, n_read, needed_faces(modality))
               for v, n_read, modality in zip(out["video_id"], out["n_read"], out["modality"])]
    out["verdict"] = [d[0] for d in decided]
    out["score"] = [d[1] for d in decided]
    out["reason"] = ["; ".join(dict.fromkeys(filter(None, (had, d[2])))) if had or d[2] else ""
                     for had, d in zip(out["reason"], decided)]
    return out


def held_out_scores(out: Path, net, card: dict[str, Any], options: ScoreOptions,
                    folder: Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of tables.FRAME_SCORES and tables.VIDEO_SCORES of OUT's validation and test videos; nothing is written."""
    crops, rows = held_out(out, ("val", "test"), folder)
    crops["score"] = score_crops(net, card, crops, out, options)
    return crops, video_scores(rows, crops, card)


def held_out(out: Path, parts: Sequence[str], folder: Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the crops and the videos of these parts of OUT, without their scores.

    Args:
        out: folder of the run.
        parts: names of parts of the split.
        folder: a folder whose split.csv, if there is one, counts instead of OUT's.

    Raises:
        TableError: a table is missing or damaged, or held-out videos were never extracted.
    """
    split = read_table(split_of(out, folder), SPLIT)
    held_out = split[split["part"].isin(parts)]
    faces = read_table(out / "faces" / "faces.csv", FACES)
    crops = faces[faces["crop"] != ""].merge(held_out[["video_id", "label"]], on="video_id")
    videos = read_table(out / "faces" / "videos.csv", VIDEOS)
    if missing := sorted(set(held_out["video_id"]) - set(videos["video_id"])):
        raise TableError(f"{len(missing)} held-out videos were never extracted (e.g. {missing[0]}): `make extract`")
    known = read_table(out / "index.csv", INDEX)[["video_id", "method", "modality"]]
    return crops, held_out.merge(videos.drop(columns="label"), on="video_id").merge(known, on="video_id")


def split_of(out: Path, folder: Path | None = None) -> Path:
    """Return the table of the split: of `folder` where it has one, else OUT's."""
    own = (folder or out) / "split.csv"
    return own if own.is_file() else out / "split.csv"


def score_held_out(out: Path, model: Path, options: ScoreOptions, folder: Path | None = None) -> pd.DataFrame:
    """Score the validation and test videos of OUT and write the tables of scores.

    Args:
        out: folder of the run.
        model: the checkpoint.
        options: how crops are scored.
        folder: where scores/ goes for a model that was trained elsewhere: OUT/others/<model id>. Where OUT has no
            split, every video is test. None for OUT's own model.

    Returns:
        Rows of tables.VIDEO_SCORES.

    Raises:
        SplitError: OUT's own model was trained on another split: its training videos may be test videos of this one.
    """
    from classify.models.load import load_model
    from classify.models.onnx import OnnxNet

    net, card, _ = load_model(model, options.device)
    if folder is not None and not (out / "split.csv").is_file():
        from data.split import everything_is_test

        split = everything_is_test(read_table(out / "index.csv", INDEX))
        write_json(folder / "split.json", split.audit)
        write_table(folder / "split.csv", split.rows, SPLIT)
    split_hash = read_json(split_of(out, folder).with_suffix(".json"))["split_hash"]
    if folder is None and card["split_hash"] != split_hash:
        raise SplitError(f"{model} was trained on another split ({card['split_hash'][:8]}, here {split_hash[:8]}), so "
                         "its training videos may be test videos here: `make train` again, or restore its split")
    crops, rows = held_out_scores(out, net, card, options, folder)
    target = (folder or out) / "scores"
    if card.get("methods") and not isinstance(net, OnnxNet):  # an .onnx file judges, and has no second head
        guesses = guessed_methods(net, card, crops[crops["label"] == 1], out, options)
        write_table(target / "methods.csv", guesses.merge(rows[["video_id", "part", "method"]], on="video_id"),
                    METHOD_GUESSES)
    write_table(target / "frames.csv", crops, FRAME_SCORES)
    write_json(target / "run.json", card)
    write_table(target / "videos.csv", rows, VIDEO_SCORES)
    return rows


def chosen_model(work: stages.Work) -> Path:
    """Return the model that a stage works with: MODEL=, or the one that was trained in this run.

    Raises:
        CheckpointError: neither is there.
    """
    model = work.given.get("model") or stages.own_model(work.record)
    if model is None or not Path(model).is_file():
        raise CheckpointError(f"{work.out} has no model: run `make train` first, or pass MODEL=file")
    return Path(model)
