"""Facts about reports on scores that another detector gave."""
from __future__ import annotations

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest

from classify.evaluation.foreign_scores import read_scores
from classify.evaluation.paired import delong
from extract.corpus import main as index
from pipeline.errors import TableError
from pipeline.tables import INDEX, read_table
from reports.page import main as report
from tests.reports.test_page import run_folder

THRESHOLD_FREE = ("auc", "ap", "eer", "log_loss")


@pytest.fixture
def corpus(tmp_path):
    """The names of a Celeb-DF of four people, three reals each, and a fake for each pair; the files are empty."""
    root = tmp_path / "Celeb-DF-v2"
    names = [f"Celeb-real/id{person}_{clip:04d}.mp4" for person in range(4) for clip in range(3)]
    names += [f"Celeb-synthesis/id{one}_id{other}_0000.mp4" for one in range(4) for other in range(4) if one != other]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(path, header, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def metrics_of(folder):
    return json.loads((folder / "report" / "metrics.json").read_text())


def only(out):
    [folder] = (out / "others").iterdir()
    return folder


@pytest.fixture
def indexed(corpus, tmp_path):
    out = tmp_path / "out"
    assert index(["--out", str(out), "--corpus", str(corpus)]) == 0
    rows = read_table(out / "index.csv", INDEX)
    return out, rows


def score_of(name, label):
    return round(.3 + .3 * label + (sum(map(ord, name)) % 37) / 100, 4)


def test_our_own_scores_give_our_numbers_to_the_digit(tmp_path):
    out = run_folder(tmp_path / "run")
    assert report(["--out", str(out), "--sheets", "0"]) == 0
    videos = pd.read_csv(out / "scores" / "videos.csv")
    theirs = tmp_path / "theirs.csv"
    videos[["video_id", "score"]].dropna().to_csv(theirs, index=False)
    assert report(["--out", str(out), "--scores", str(theirs), "--sheets", "0"]) == 0
    here, there = metrics_of(out), metrics_of(only(out))
    for counting in ("left_out", "as_wrong"):
        for name in THRESHOLD_FREE:
            assert there["video"]["all"][counting]["metrics"][name] == here["video"]["all"][counting]["metrics"][name]
    for method, blocks in here["video"]["methods"].items():
        for name in THRESHOLD_FREE:
            assert there["video"]["methods"][method]["left_out"]["metrics"][name] == \
                blocks["left_out"]["metrics"][name]
    assert there["calibration"]["video"] == here["calibration"]["video"]
    assert there["against"]["metrics"]["auc"]["difference"] == 0 and there["against"]["delong"]["p"] is None


def test_our_own_frames_give_our_numbers_of_frames_to_the_digit(tmp_path):
    out = run_folder(tmp_path / "run")
    assert report(["--out", str(out), "--sheets", "0"]) == 0
    theirs = tmp_path / "theirs.csv"
    frames = pd.read_csv(out / "scores" / "frames.csv").rename(columns={"time_s": "time"})
    frames[["video_id", "frame", "time", "score"]].to_csv(theirs, index=False)
    assert report(["--out", str(out), "--scores", str(theirs), "--sheets", "0"]) == 0
    here, there = metrics_of(out), metrics_of(only(out))
    for level in ("video", "frame"):
        for name in THRESHOLD_FREE:
            assert there[level]["all"]["left_out"]["metrics"][name] == here[level]["all"]["left_out"]["metrics"][name]
    assert there["n"] == here["n"]


def test_lower_is_fake_and_a_linear_scale_change_no_ranking(indexed, tmp_path):
    out, rows = indexed
    values = [score_of(name, label) for name, label in zip(rows["video_id"], rows["label"])]
    found = []
    for n, (change, flags) in enumerate(((lambda s: s, []), (lambda s: -40 * s + 7, ["--lower-is-fake", "--threshold",
                                                                                     "-13"]))):
        path = write(tmp_path / f"scores{n}.csv", ("path", "score"),
                     zip(rows["video_id"], [change(value) for value in values]))
        assert report(["--out", str(out), "--scores", str(path), "--sheets", "0", *flags]) == 0
        found.append(metrics_of(next((out / "others").glob(f"scores{n}-*"))))
    assert 0 < found[0]["video"]["all"]["left_out"]["metrics"]["auc"]["value"] < 1
    for name in ("auc", "ap", "eer", "accuracy"):  # -13 is .5
        assert math.isclose(*(one["video"]["all"]["left_out"]["metrics"][name]["value"] for one in found))
    assert found[1]["video"]["all"]["left_out"]["metrics"]["log_loss"]["value"] is None
    assert found[1]["calibration"]["video"]["ece"]["value"] is None


def test_scores_beyond_0_and_1_without_a_threshold_are_refused(indexed, tmp_path, capsys):
    out, rows = indexed
    path = write(tmp_path / "logits.csv", ("video_id", "score"), [(name, 3.5) for name in rows["video_id"]])
    assert report(["--out", str(out), "--scores", str(path)]) == 1
    assert "pass THRESHOLD=" in capsys.readouterr().err


def test_what_is_missing_doubled_and_unknown_is_counted_and_listed(indexed, corpus, tmp_path, capsys):
    out, rows = indexed
    names = rows["video_id"].tolist()
    table = [(str(corpus / names[0]), .1), (names[1].removesuffix(".mp4") + ".avi", .2), (names[2], .3), (names[2], .3),
             (names[3], .4), (names[3], .9), (names[4], "nan"), ("elsewhere/x.mp4", .5),
             *((name, .6) for name in names[6:])]
    path = write(tmp_path / "theirs.csv", ("path", "score"), table)
    assert report(["--out", str(out), "--scores", str(path), "--sheets", "0"]) == 0
    card = json.loads((only(out) / "scores" / "run.json").read_text())
    assert card["rows"] == {"in_the_file": len(table), "videos_with_a_score": len(names) - 3, "unknown": 1,
                            "doubled": 1, "contradicting": 1, "no_number": 1, "missing": 3, "not_in_test": 0}
    listed = {(row["name"], row["problem"]) for row in csv.DictReader(open(only(out) / "rows.csv"))}
    assert {("elsewhere/x.mp4", "names no video of the corpus"), (names[5], "no row"), (names[4], "no row"),
            (names[3], "no row")} <= listed
    videos = pd.read_csv(only(out) / "scores" / "videos.csv").set_index("video_id")
    assert videos.loc[names[0], "score"] == .1 and videos.loc[names[1], "score"] == .2
    assert (videos.loc[names[3:6], "status"] == "no_score").all()
    assert "1 rows name no video" in capsys.readouterr().out
    assert "elsewhere/x.mp4" in (only(out) / "report" / "report.html").read_text()


def test_the_split_that_the_file_names_is_audited(indexed, tmp_path):
    out, rows = indexed
    part = ["train" if n % 2 else "test" for n in range(len(rows))]  # the same people on both sides
    path = write(tmp_path / "theirs.csv", ("video_id", "part", "score"),
                 [(name, own, "" if own == "train" else score_of(name, label))
                  for name, label, own in zip(rows["video_id"], rows["label"], part)])
    assert report(["--out", str(out), "--scores", str(path), "--sheets", "0"]) == 0
    audit = json.loads((only(out) / "split.json").read_text())
    assert audit["rule"] == "given" and audit["shared"]["test/train+val"]["identities_shared"] == 4
    assert metrics_of(only(out))["n"]["videos"] == part.count("test")
    page = (only(out) / "report" / "report.html").read_text()
    assert "test fakes have their original in training" in page and "is not known here" not in page


def test_a_report_is_up_to_date_until_file_or_threshold_changes(indexed, tmp_path, capsys):
    out, rows = indexed
    path = write(tmp_path / "theirs.csv", ("video_id", "score"), [(name, .5) for name in rows["video_id"]])
    flags = ["--out", str(out), "--scores", str(path), "--sheets", "0"]
    for more, said in (([], "starting"), ([], "up to date"), (["--threshold", ".7"], "THRESHOLD was none, now 0.7"),
                       ([], "up to date")):
        assert report([*flags, *more]) == 0
        assert said in capsys.readouterr().out


def test_two_detectors_are_compared(indexed, tmp_path):
    out, rows = indexed
    one = write(tmp_path / "one.csv", ("video_id", "score"),
                [(name, score_of(name, label)) for name, label in zip(rows["video_id"], rows["label"])])
    two = write(tmp_path / "two.csv", ("video_id", "score"), [(name, score_of(name, 0)) for name in rows["video_id"]])
    assert report(["--out", str(out), "--scores", str(one), "--against", str(two), "--sheets", "0"]) == 0
    against = metrics_of(next((out / "others").glob("one-*")))["against"]
    assert against["n"] == len(rows) and against["metrics"]["auc"]["difference"] > 0 and 0 < against["delong"]["p"] < 1


def test_a_file_of_another_corpus_is_refused(indexed, tmp_path):
    out, rows = indexed
    path = write(tmp_path / "x.csv", ("video_id", "score"), [("a.mp4", .1)])
    assert read_scores(path, rows["video_id"].tolist()).by_video == {}
    assert report(["--out", str(out), "--scores", str(path)]) == 1
    with pytest.raises(TableError, match="line 2: part is 'twice'"):
        read_scores(write(path, ("video_id", "score", "part"), [(rows["video_id"][0], .1, "twice")]),
                    rows["video_id"].tolist())


def test_a_model_and_scores_at_once_are_refused(indexed, tmp_path, capsys):
    out, _ = indexed
    assert report(["--out", str(out), "--scores", str(tmp_path / "no.csv")]) == 1
    assert "is no file" in capsys.readouterr().err


def test_delong_is_the_variance_of_the_placements():
    generator = np.random.default_rng(1)
    labels = np.array([0] * 30 + [1] * 20)
    here, there = (generator.normal(labels, 1).round(1) for _ in range(2))  # rounded, so that there are ties
    fakes, reals = labels == 1, labels == 0
    psi = [(one[fakes][:, None] > one[reals]) + .5 * (one[fakes][:, None] == one[reals]) for one in (there, here)]
    s10, s01 = np.cov([p.mean(1) for p in psi]), np.cov([p.mean(0) for p in psi])
    variance = (s10 / 20 + s01 / 30) @ [-1, 1] @ [-1, 1]
    z = (psi[1].mean() - psi[0].mean()) / math.sqrt(variance)
    found = delong(labels, there, here)
    assert found["z"] == pytest.approx(z) and found["p"] == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))
    assert delong(labels, here, here)["p"] is None
