"""`make score`: P(fake) of every validation and test crop, and a verdict per video.

    OUT/scores/frames.csv    tables.FRAME_SCORES
    OUT/scores/videos.csv    tables.VIDEO_SCORES, one row per video of the two parts, failed ones included
    OUT/scores/run.json      the model card without its tensors: what the report says of the model
"""
from __future__ import annotations

import sys

from classify.evaluation.options import ScoreOptions
from pipeline import stages
from pipeline.errors import command


def _score(work: stages.Work) -> None:
    """Score the held-out videos, and say how many verdicts of each kind there are."""
    from classify.evaluation.score import chosen_model, score_held_out
    from classify.models.card import read_card
    from extract.layouts.base import thing_of
    from pipeline.tables import METHOD_GUESSES, read_table

    model, own = chosen_model(work), work.folder == work.out
    rows = score_held_out(work.out, model, work.options(ScoreOptions), None if own else work.folder)
    scores = work.folder / "scores"
    more = []
    if (scores / "methods.csv").is_file() and read_card(model).get("methods"):
        more.append("scores/methods.csv")
        guesses = read_table(scores / "methods.csv", METHOD_GUESSES).query("part == 'test'")
        right = int((guesses["guess"] == guesses["method"]).sum())
        print(f"score: the method of {right} of {len(guesses)} test fakes guessed right (scores/methods.csv)")
    print("score: " + ", ".join(f"{n} {verdict}" for verdict, n in rows["verdict"].value_counts().items())
          + f" ({' and '.join(sorted(set(rows['part']), reverse=True))} {thing_of(rows['modality'])}s, {scores})")
    work.finish(len(rows), more)


@command
def main(argv: list[str] | None = None) -> int | None:
    """Run the command; return its exit status."""
    return stages.run("score", argv, "Score the held-out videos or pictures of OUT.", _score)


if __name__ == "__main__":
    sys.exit(main())
