"""Facts about the report page, on run folders that the tests put together by hand."""
from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.run_record import RunRecord
from pipeline.tables import ALTERED_SCORES, FRAME_SCORES, INDEX, SPLIT, VIDEO_SCORES, VIDEOS, write_json, write_table
from reports.options import ReportOptions
from reports.page import main, write_report
from reports.run_tables import read_run

ODD = '<b>&"\'.mp4'
CARD = {"model_id": "resnet50-1a2b3c4d", "backbone": "resnet50", "aggregation": "mean_logit", "threshold": .5,
        "threshold_reason": "highest balanced accuracy", "dataset": "Celeb-DF-v2", "demo": False, "best_epoch": 1,
        "split_hash": "abc", "frames": {"every": 3.0, "frames": None}, "versions": {"torch": "2"}}
AUDIT = {"rule": "identity", "seed": 0, "split_hash": "abc", "shared": {"videos": 0, "sources": []},
         "parts": [{"part": "test", "n": 4}], "warnings": []}


def run_folder(out: Path, n: int = 48, failed: int = 2, methods=("FaceSwap", "NeuralTextures"), labels=(0, 1),
               card: dict | None = None, audit: dict | None = None, names: dict | None = None, n_groups: int = 12,
               spread: float = .25) -> Path:
    """A run of n test videos, the first `failed` without a face; classes take turns, groups hold whole pairs."""
    RunRecord(out).write()
    generator = np.random.default_rng(n)
    rows, frames = [], []
    for i in range(n):
        label = labels[i % len(labels)]
        scores = np.clip(generator.normal(.35 + .3 * label, spread, 4), 0.01, .99).round(6)
        bad = i < failed
        row = {"video_id": (names or {}).get(i, f"{'fake' if label else 'real'}/{i:03d}.mp4"), "label": label,
               "dataset": "Celeb-DF-v2", "method": methods[i // 2 % len(methods)] if label else "", "target_id": "",
               "source_id": "", "original": "", "official": "", "modality": "video", "part": "test",
               "group": f"id{i // 2 % n_groups}",
               "status": "no_face" if bad else "ok", "reason": "no face in 5 frames" if bad else "", "n_asked": 5,
               "n_read": 5, "n_faces": 0 if bad else 4, "width_px": 640, "height_px": 360, "duration_s": 13.0,
               "score": np.nan if bad else scores.mean(),
               "verdict": "undecided" if bad else "fake" if scores.mean() >= .5 else "real"}
        rows.append(row)
        frames += [] if bad else [{"video_id": row["video_id"], "time_s": 3. * k, "frame": 90 * k, "score": s,
                                   "crop": f"{i}-{k}.png"} for k, s in enumerate(scores)]
    for path, content, columns in (("index.csv", rows, INDEX), ("faces/videos.csv", rows, VIDEOS),
                                   ("split.csv", rows, SPLIT), ("scores/videos.csv", rows, VIDEO_SCORES),
                                   ("scores/frames.csv", frames, FRAME_SCORES)):
        write_table(out / path, content, columns)
    write_json(out / "faces/options.json", {})
    write_json(out / "split.json", {**AUDIT, **(audit or {})})
    write_json(out / "scores/run.json", {**CARD, **(card or {})})
    (out / "model").mkdir()
    (out / "model/epochs.csv").write_text("epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_video_auc\n"
                                          "0,0.69,0.52,0.68,0.55,\n1,0.60,0.66,0.61,0.64,0.71\n")
    return out


def page(out: Path) -> str:
    return (out / "report" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = run_folder(tmp_path_factory.mktemp("run"), names={7: ODD}, audit={"warnings": ["a <i>loud</i> warning"]})
    write_report(out, ReportOptions("How well & fair"))
    return out


def test_the_page_asks_nothing_of_the_outside(run):
    text = page(run)
    assert not re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']?\s*(?!data:|#)[^"'\s>]+""", text)
    assert not re.findall(r"https?://|@import|url\(|<script|<link|<iframe", text)
    assert "default-src 'none'" in text


def test_every_number_of_the_findings_is_one_of_the_metrics(run):
    metrics = json.loads((run / "report/metrics.json").read_text())
    known = {"95", "12"}  # the level of the intervals, the groups they come from
    blocks = [metrics["video"]["all"][c] for c in ("left_out", "as_wrong")]
    blocks += [counting["left_out"] for counting in metrics["video"]["methods"].values()]
    for block in blocks:
        known |= {f"{cell[key]:.3f}" for cell in block["metrics"].values() for key in ("value", "low", "high")
                  if cell[key] is not None}
        known |= {str(n) for n in [*block["confusion"].values(), block["n_real"], block["n_fake"]]}
    known |= {str(n) for n in metrics["n"].values()} | {str(len(metrics["video"]["methods"]))}
    text = html.unescape(page(run))
    for line in metrics["findings"]:
        assert line in text
        assert set(re.findall(r"\d+(?:\.\d+)?", line)) <= known, line
    assert metrics["n"] == {"videos": 48, "real": 24, "fake": 24, "judged": 46, "failed": 2, "failed_real": 1,
                            "failed_fake": 1, "frames": 184, "groups": 12}


def test_the_csv_holds_the_numbers_of_the_json(run):
    metrics = json.loads((run / "report/metrics.json").read_text())
    rows = pd.read_csv(run / "report/metrics.csv", keep_default_na=False, na_values={"value": ""})
    row = rows[(rows.level == "video") & (rows.subset == "all") & (rows.metric == "auc")].set_index("counting")
    for counting, block in metrics["video"]["all"].items():
        assert row.loc[counting, "value"] == pytest.approx(block["metrics"]["auc"]["value"], abs=1e-9)


def test_names_of_videos_and_warnings_are_escaped(run):
    text = page(run)
    assert "<b>&" not in text and "<i>loud" not in text and "&lt;i&gt;loud" in text
    assert "<title>How well &amp; fair</title>" in text


def test_an_odd_name_among_the_wrong_calls_is_shown_as_it_is(tmp_path):
    out = run_folder(tmp_path, n=4, failed=4, names={0: ODD})
    write_report(out)
    assert "<b>&" not in page(out) and ODD in html.unescape(page(out))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_figures_are_files_that_a_paper_can_use_and_say_nothing_of_when_they_were_made(run):
    figures = run / "report/figures"
    for name in {path.stem for path in figures.iterdir()}:
        svg, pdf, png = ((figures / f"{name}.{suffix}").read_bytes() for suffix in ("svg", "pdf", "png"))
        assert b"<svg" in svg and b"dc:date" not in svg
        assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf and b"/Type3" not in pdf
        assert png.startswith(b"\x89PNG") and b"tEXt" not in png
        assert int.from_bytes(png[16:20], "big") == 1000


def test_the_same_tables_give_the_same_bytes(run, tmp_path):
    again = run_folder(tmp_path, names={7: ODD}, audit={"warnings": ["a <i>loud</i> warning"]})
    for _ in range(2):
        write_report(again, ReportOptions("How well & fair"))
    names = files(run / "report")
    assert names == files(again / "report") and len(names) == 3 + 9 * 3 and "figures/roc.pdf" in names
    for name in names:
        assert (run / "report" / name).read_bytes() == (again / "report" / name).read_bytes(), name


def test_faces_and_an_earlier_run_are_in_the_page_the_same_each_time_and_every_number_is_a_metric(tmp_path):
    out, earlier = run_folder(tmp_path / "new", n=40), run_folder(tmp_path / "old", n=44, failed=0, spread=.4)
    crop = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)
    for name in read_run(out).frame_scores["crop"]:
        cv2.imwrite(str(out / "faces" / name), crop)
    options = ReportOptions(against=str(earlier))
    metrics = write_report(out, options)
    text, found = page(out), metrics["against"]
    n_wrong = sum(metrics["video"]["all"]["left_out"]["confusion"][k] for k in ("real_as_fake", "fake_as_real"))
    assert 0 < n_wrong == text.count('src="data:image/jpeg;base64,') and f"False calls: {n_wrong}" in text
    assert (found["n"], found["only_here"], found["only_there"], found["not_judged"]) == (38, 0, 4, 2)
    assert f"Became right: {len(found['mended'])}" in text and f"Became wrong: {len(found['spoiled'])}" in text
    assert f"{found['metrics']['auc']['there']:.3f} before, {found['metrics']['auc']['here']:.3f} now" in text
    assert text.index("By method, worst first") < text.index("<h2>Numbers")
    assert [m["share"] for m in metrics["worst"]["methods"]] == sorted(m["share"] for m in metrics["worst"]["methods"])
    write_report(out, options)
    assert page(out) == text


def write_altered(out: Path, shift: float = 0.) -> None:
    """Altered scores of a run folder: as they are (but for `shift`), and blurred, where all score like a real."""
    plain = read_run(out).video_scores
    failed = plain["score"].isna()
    blurred = plain.assign(score=plain["score"].where(failed, .1), verdict=plain["verdict"].where(failed, "real"))
    plain = plain.assign(score=plain["score"] + shift)
    rows = [own.assign(alteration=name) for name, own in (("as they are", plain), ("blurred", blurred))]
    write_table(out / "scores/altered.csv", pd.concat(rows), ALTERED_SCORES)


def test_altered_crops_are_told_beside_those_as_they_are(tmp_path):
    out = run_folder(tmp_path)
    assert "ROBUST=1" in (write_report(out) and page(out))
    write_altered(out)
    metrics = write_report(out, ReportOptions(robust=True))
    plain, blurred = metrics["robustness"]
    confusion, auc = (metrics["video"]["all"]["left_out"][key] for key in ("confusion", "metrics"))
    assert (plain["real_as_fake"], plain["fake_as_fake"]) == (confusion["real_as_fake"], confusion["fake_as_fake"])
    assert (blurred["real_as_fake"], blurred["fake_as_fake"], blurred["not_judged"]) == (0, 0, 2)
    assert blurred["auc"]["here"] == .5 and blurred["auc"]["there"] == pytest.approx(auc["auc"]["value"])
    assert blurred["auc"]["verdict"] == "worse"
    [line] = [line for line in metrics["findings"] if "alteration" in line]
    assert f'1 of 1 alteration, most by "blurred": 0.500 against {auc["auc"]["value"]:.3f}' in line
    text = page(out)
    assert "ROBUST=1" not in text and line in html.unescape(text)
    assert (out / "report/figures/robustness.pdf").is_file()
    write_report(out, ReportOptions(robust=True))
    assert page(out) == text
    write_report(out)
    assert not (out / "report/figures/robustness.pdf").exists()


def test_altered_crops_of_other_scores_are_refused_in_one_line(tmp_path, capsys):
    out = run_folder(tmp_path)
    for make, message in ((lambda: None, "altered.csv does not exist"),
                          (lambda: write_altered(out, shift=-.002), "not of the same model")):
        make()
        assert main(["--out", str(out), "--robust"]) == 1
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1 and message in captured.err


@pytest.mark.parametrize("wrong, message", [("missing", "missing/scores/run.json does not exist"),
                                            ("other", "other: the two runs have no test video in common")])
def test_an_earlier_run_that_cannot_be_compared_is_refused_in_one_line(tmp_path, capsys, wrong, message):
    out = run_folder(tmp_path / "new", n=4)
    run_folder(tmp_path / "other", n=4, names={i: f"x{i}.mp4" for i in range(4)})
    assert main(["--out", str(out), "--against", str(tmp_path / wrong)]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and message in captured.err and not (out / "report").exists()


def test_the_page_of_a_demo_says_so_first_and_the_page_of_a_corpus_does_not(run, tmp_path):
    out = run_folder(tmp_path, n=8, card={"demo": True})
    write_report(out)
    text = page(out)
    assert text.index("demo on drawn faces") < text.index("<h2>Findings")
    assert "nothing about real videos" in text
    assert "drawn faces" not in page(run)


def test_a_model_with_a_band_says_that_undecided_videos_count_as_not_judged(run, tmp_path):
    out = run_folder(tmp_path, n=8, card={"calibration": {"low": .4, "high": .5}})
    write_report(out)
    assert "the score is in the uncertain band; such videos count as not" in page(out)
    assert "in the uncertain band; such" not in page(run)


def test_a_report_without_its_videos_says_that_it_has_no_sheets(run):
    assert "There are no sheets of the evidence: the videos are no longer where they were" in page(run)


def test_verdicts_are_upper_case_for_people(run):
    text = page(run)
    assert "</b> at 0." in text and "called FAKE" in text and "higher is faker" in text and "this corpus" in text


@pytest.mark.parametrize("case, finding", [
    ({"labels": (1,)}, "AUC n/a (no real among the judged videos)"),
    ({"labels": (0,)}, "AUC n/a (no fake among the judged videos)"),
    ({"n": 0, "failed": 0}, "0 test videos: 0 real and 0 fake. There is nothing to measure."),
    ({"n": 1, "failed": 0}, "1 test video: 1 real and 0 fake. All were judged."),
    ({"n": 2, "failed": 0}, "AUC n/a (1 real and 1 fake among the judged videos"),
    ({"n": 4, "failed": 4}, "AUC n/a (no judged video)"),
    ({"n": 4, "failed": 0}, "no interval: groups that hold a real: 2, a fake: 2"),
    ({"n": 40, "failed": 0, "spread": 0.}, "all resamples agree"),
])
def test_a_corpus_too_small_for_a_number_gets_a_page_that_says_why(tmp_path, case, finding):
    out = run_folder(tmp_path, **case)
    metrics = write_report(out)
    assert any(finding in line for line in metrics["findings"]), metrics["findings"]
    assert not re.search(r"\bnan\b|NaN|\bNone\b", re.sub(r"base64,[^\"]*", "", page(out)))


def test_a_figure_of_an_earlier_run_does_not_stay_behind(tmp_path):
    out = run_folder(tmp_path, n=8)
    write_report(out)
    assert (out / "report/figures/epochs_loss.svg").is_file()
    (out / "model/epochs.csv").unlink()
    (out / "report/roc.svg").touch()  # where an older version put it
    write_report(out)
    assert not [name for name in files(out / "report") if "epochs_loss" in name] and "no table of epochs" in page(out)
    assert not (out / "report/roc.svg").exists()


def test_a_card_and_an_audit_with_next_to_nothing_in_them_still_make_a_page(tmp_path):
    out = run_folder(tmp_path, n=8)
    write_json(out / "scores/run.json", {"threshold": .5, "aggregation": "mean"})
    write_json(out / "split.json", {})
    write_report(out)
    assert "model n/a" in page(out)


def test_scores_of_another_split_and_unscored_videos_are_said_before_the_numbers(tmp_path):
    out = run_folder(tmp_path, n=8, audit={"split_hash": "other"})
    scores = read_run(out).video_scores
    write_table(out / "scores/videos.csv", scores[scores["video_id"] != "real/006.mp4"], VIDEO_SCORES)
    write_report(out)
    before = page(out).split("<h2>Findings")[0]
    assert "trained on another split" in before and "real/006.mp4" in before


@pytest.mark.parametrize("name", ["index.csv", "faces/videos.csv", "split.csv", "split.json", "scores/frames.csv",
                                  "scores/videos.csv", "scores/run.json"])
def test_a_missing_table_is_one_line_that_names_it(tmp_path, capsys, name):
    out = run_folder(tmp_path, n=4)
    (out / name).unlink()
    assert main(["--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and name in captured.err
    assert not (out / "report").exists()


@pytest.mark.parametrize("name, content", [("split.json", "{"), ("scores/run.json", "[]"), ("scores/run.json", "{}"),
                                           ("scores/videos.csv", "a,b\n1,2\n"), ("model/epochs.csv", "")])
def test_a_damaged_table_is_refused_by_name(tmp_path, name, content):
    out = run_folder(tmp_path, n=4)
    (out / name).write_text(content)
    with pytest.raises(TableError, match=re.escape(name)):
        write_report(out)


def test_a_threshold_of_another_run_is_refused(tmp_path):
    out = run_folder(tmp_path, n=8, card={"threshold": .05})
    with pytest.raises(TableError, match="not of one run"):
        write_report(out)


def test_the_command_prints_the_key_numbers_and_where_the_page_is(run, capsys):
    assert main(["--out", str(run), "--title", "How well & fair"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "48 test videos" in lines[1] and "AUC" in "".join(lines) and lines[-1].endswith("report.html")
    assert len(lines) <= 10


def test_help_answers_without_heavy_imports():
    code = ("import sys; from reports.page import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
            "print(sorted({'numpy', 'pandas', 'matplotlib', 'jinja2', 'sklearn', 'torch'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n") and "--title" in done.stdout
