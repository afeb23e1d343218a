"""`make train`: train a network on the training crops of a run.

    OUT/model/model.safetensors   the checkpoint (model.keras with FRAMEWORK=tensorflow)
    OUT/model/epochs.csv          losses, accuracies and validation video AUC per epoch
    OUT/model/run/                last and best state for RESUME=1, and TensorBoard's event file
    OUT/model/next/               the same while training is not finished
    OUT/model/replaced/           the last models that were replaced, with their scores: `make restore MODEL_ID=...`
"""
from __future__ import annotations

import sys
from typing import Any

from classify.evaluation.options import ScoreOptions
from classify.models.options import ModelOptions
from classify.training.recipes import RecipeOptions, TrainOptions
from data.loading.options import AugmentOptions
from pipeline import stages
from pipeline.errors import command
from pipeline.run_record import look


def _train(work: stages.Work) -> None:
    """Train into OUT/model/next, then put the result in the place of the model before, which is kept."""
    from classify.training import replaced

    framework = work.options(RecipeOptions).framework
    training = work.options(TrainOptions)
    folder = replaced.next_folder(work.out, training.resume)
    options: tuple[Any, ...] = (work.out, work.options(ModelOptions), training, work.options(AugmentOptions),
                                work.options(ScoreOptions), folder)
    if framework == "tensorflow":
        from classify.training import keras

        card = keras.train(*options)
    else:
        from classify.training.train import train

        card = train(*options)
    if not card:  # one of several processes, not the first
        return
    for place, (before, after) in ((card.get("continued") or {}).get("val_video_auc") or {}).items():
        was, now = ("n/a" if value is None else f"{value:.3f}" for value in (before, after))
        print(f"train: video AUC on the validation videos of {place}: {was} before, {now} now")
    print(f"train: {card['model_id']}, best epoch {card['best_epoch']}; aggregation {card['aggregation']} "
          f"({card['aggregation_reason']}); threshold {card['threshold']} ({card['threshold_reason']})")
    kept = replaced.install(work.record, folder)
    if kept:
        print(f"train: the model before is kept in {kept}; `make restore MODEL_ID={kept.name}` brings it back")
    # The table of epochs is no output: where it is lost, training for hours again would bring back a figure.
    made = [f"model/{path.name}" for path in sorted((work.out / "model").glob("model.*")) if path.is_file()]
    work.finish(card["trained_on"]["n_crops"], made, model_id=card["model_id"],
                epochs=look(work.out / "model" / "epochs.csv"))


@command
def main(argv: list[str] | None = None) -> int | None:
    """Run the command; return its exit status."""
    return stages.run("train", argv, "Train a network on the training crops of OUT.", _train)


if __name__ == "__main__":
    sys.exit(main())
