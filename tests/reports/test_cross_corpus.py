"""What bench-quality measured is drawn: what is there, and nothing that the numbers do not say."""
from classify.judging.calibration import reliability
from pipeline.tables import write_json
from reports.cross_corpus import main

ROWS = [{"name": name, "auc": auc, "n_real": 4, "n_fake": 3, "real_as_fake": 1, "fake_as_fake": 2, "not_judged": 0}
        for name, auc in (("as they are", .8), ("blurred", None))]


def drawn(out, **found):
    write_json(out / "quality.json", found)
    assert not main(["--out", str(out)])
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "quality.json"}


def test_both_figures_are_drawn_alike_each_time_and_shares_that_count_nothing_get_no_interval(tmp_path, monkeypatch):
    monkeypatch.setattr("reports.figures.exact", None)  # a share of weighted classes is no count of clips
    found = {"reliability": reliability([.1, .2, .65, .7, .9], [0, 0, 1, 0, 1]), "robustness": ROWS}
    files = drawn(tmp_path, **found)
    assert sorted(files) == [f"{name}.{suffix}" for name in ("reliability", "robustness")
                             for suffix in ("pdf", "png", "svg")]
    assert drawn(tmp_path, **found) == files


def test_without_probabilities_there_is_no_reliability_diagram(tmp_path):
    assert sorted(drawn(tmp_path, reliability=None, robustness=ROWS)) == [
        "robustness.pdf", "robustness.png", "robustness.svg"]
    (tmp_path / "none").mkdir()
    assert drawn(tmp_path / "none", reliability=None, robustness=[]) == {}
