"""`make report ROBUST=1`: the test crops altered as clips are on their way (classify.evaluation.corruptions), and
judged again.

    OUT/scores/altered.csv    tables.ALTERED_SCORES: a row per test video and alteration, "as they are" among them

The stored crops are altered, not the clips: this tells what a network bears. Whether faces are still found, and what
compression does to whole frames, `make bench-quality` tells.
"""
from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classify.evaluation.options import ScoreOptions
from classify.evaluation.score import chosen_model, held_out, score_pictures, scored_by, video_scores
from pipeline import stages
from pipeline.errors import CheckpointError, TableError, command
from pipeline.progress import progress_bar
from pipeline.tables import ALTERED_SCORES, read_json, write_table

if TYPE_CHECKING:
    import pandas as pd

UNALTERED = "as they are"
AT_ONCE = 512    # crops held at once: 80 MB of 224 px each
NEAR = 1e-3      # by which the scores of the same crops may differ: other batches, another device


def altered_scores(out: Path, net, card: dict[str, Any], options: ScoreOptions,
                   folder: Path | None = None) -> pd.DataFrame:
    """Rows of tables.ALTERED_SCORES of OUT's test videos, UNALTERED first, then in the order of ALTERATIONS."""
    import numpy as np
    import pandas as pd

    from classify.evaluation.corruptions import ALTERATIONS, Alter
    from data.loading.crops import to_input
    from data.loading.pack import crop_folder, read_stored
    from pipeline.workers import cpu_count

    crops, rows = held_out(out, ("test",), folder)
    size_px, centre = card["size_px"], card["centre"]
    (folder, whole), alters = crop_folder(out), {UNALTERED: lambda picture: picture, **ALTERATIONS}
    scores = {name: np.full(len(crops), np.nan) for name in alters}

    def read(crop: str) -> np.ndarray:
        return read_stored(folder / crop, whole, round(size_px / centre))

    def network_input(stored: np.ndarray, alter: Alter) -> np.ndarray:
        return to_input(alter(stored), size_px, centre)

    n = len(crops) * len(alters)
    with ThreadPoolExecutor(cpu_count()) as pool, progress_bar(total=n, desc="alter", unit="crop", leave=False) as bar:
        for start in range(0, len(crops), AT_ONCE):
            stored = list(pool.map(read, crops["crop"].iloc[start:start + AT_ONCE]))
            for name, alter in alters.items():
                inputs = np.stack(list(pool.map(network_input, stored, [alter] * len(stored))))
                scores[name][start:start + AT_ONCE] = score_pictures(net, inputs, np.arange(len(inputs)), options,
                                                                     progress=False)
                bar.update(len(inputs))
    return pd.concat([video_scores(rows, crops.assign(score=own), card).assign(alteration=name)
                      for name, own in scores.items()], ignore_index=True)


def summaries(altered: pd.DataFrame, rows: pd.DataFrame, threshold: float) -> list[dict[str, Any]]:
    """Each alteration beside the crops as they are: [{name, n_real, n_fake, real_as_fake, fake_as_fake, not_judged,
    auc}], UNALTERED first, with `auc` a cell of classify.evaluation.paired.

    altered: of ALTERED_SCORES; rows: of classify.evaluation.metrics.videos_of. Raises TableError where they are of
    other scores.
    """
    from classify.evaluation.metrics import videos_of
    from classify.evaluation.paired import against

    tables = {name: videos_of(own, "test", threshold) for name, own in altered.groupby("alteration", sort=False)}
    plain = tables.get(UNALTERED, rows[:0])
    if plain["video_id"].tolist() != rows["video_id"].tolist() or \
            (plain["score"] - rows["score"]).abs().max() > NEAR or (plain["judged"] != rows["judged"]).any():
        raise TableError("the scores of the altered crops are not of the same model and crops as the others: remove "
                         "scores/altered.csv and make it again")
    found = []
    for name, own in tables.items():
        own = own.assign(source=rows["source"])
        called = own[own["judged"] & (own["call"] == 1)]["label"].value_counts()
        found.append({"name": str(name), "n_real": int((own["label"] == 0).sum()),
                      "n_fake": int((own["label"] == 1).sum()), "real_as_fake": int(called.get(0, 0)),
                      "fake_as_fake": int(called.get(1, 0)), "not_judged": int((~own["judged"]).sum()),
                      "auc": against(own, rows)["metrics"]["auc"]})
    return found


def _robustness(work: stages.Work) -> None:
    """Write scores/altered.csv beside the scores of the same model."""
    from classify.models.load import load_model

    options, scores = work.options(ScoreOptions), work.folder / "scores"
    model_id = read_json(scores / "run.json").get("model_id")
    model = chosen_model(work) if work.folder != work.out else scored_by(work.out, model_id)
    if model is None:
        raise CheckpointError(f"the model that made the scores is not in {work.out / 'model'}: score the videos again")
    net, card, _ = load_model(model, options.device)
    table = altered_scores(work.out, net, card, options, work.folder)
    write_table(scores / "altered.csv", table, ALTERED_SCORES)
    print(f"robustness: {table['video_id'].nunique()} test videos, {table['alteration'].nunique() - 1} alterations")
    work.finish(len(table))


@command
def main(argv: list[str] | None = None) -> int | None:
    """Run the command; return its exit status."""
    return stages.run("robustness", argv, "Score the test crops again, compressed, blurred, darker and so on.",
                      _robustness)


if __name__ == "__main__":
    sys.exit(main())
