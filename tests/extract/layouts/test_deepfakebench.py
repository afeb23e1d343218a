"""A tree of DeepfakeBench by its grammar: names and dataset json, no picture is opened."""
from __future__ import annotations

import json

import pytest

from extract.corpus import find_corpus
from pipeline.errors import CorpusError


def tree(root, lists, frames=3):
    """A checkout of DeepfakeBench with its lists; lists: dataset -> label -> part -> (level ->) video -> folder."""
    def videos(content, label):
        found = {}
        for name, place in content.items():
            if isinstance(place, dict):
                found[name] = videos(place, label)
                continue
            (root / "datasets/rgb" / place).mkdir(parents=True, exist_ok=True)
            for frame in range(frames):
                (root / "datasets/rgb" / place / f"{frame:03d}.png").touch()
            found[name] = {"label": label, "frames": [f"/home/them/datasets/rgb/{place}/{frame:03d}.png"
                                                      for frame in range(frames)]}
        return found

    (root / "preprocessing/dataset_json").mkdir(parents=True)
    for dataset, labels in lists.items():
        content = {label: {part: videos(inside, label) for part, inside in parts.items()}
                   for label, parts in labels.items()}
        (root / f"preprocessing/dataset_json/{dataset}.json").write_text(json.dumps({dataset: content}))
    return root


CELEB = "Celeb-DF-v2/{}/frames/{}"


@pytest.fixture
def celeb(tmp_path):
    real = {name: CELEB.format("Celeb-real", name) for name in ("id0_0000", "id1_0000", "id2_0000")}
    fake = {name: CELEB.format("Celeb-synthesis", name) for name in ("id0_id1_0000", "id2_id1_0000")}
    first = {"id0_0000": real["id0_0000"]}
    return tree(tmp_path / "DeepfakeBench", {"Celeb-DF-v2": {
        "CelebDFv2_real": {"train": real, "val": first, "test": first},
        "CelebDFv2_fake": {"train": fake, "val": {}, "test": {"id0_id1_0000": fake["id0_id1_0000"]}}}})


def rows_of(root):
    corpus = find_corpus(root)
    return corpus, {entry["video_id"].rpartition("/")[2]: entry for entry in corpus.rows}


def test_labels_people_and_parts_of_celeb_df(celeb):
    corpus, rows = rows_of(celeb)
    assert {name: entry["label"] for name, entry in rows.items()} == {
        "id0_0000": 0, "id1_0000": 0, "id2_0000": 0, "id0_id1_0000": 1, "id2_id1_0000": 1}
    fake = rows["id0_id1_0000"]
    assert (fake["target_id"], fake["source_id"], fake["official"]) == ("id0", "id1", "test")
    assert fake["original"] == rows["id0_0000"]["video_id"] and rows["id2_id1_0000"]["official"] == "train"
    assert {entry["dataset"] for entry in corpus.rows} == {"Celeb-DF-v2"} and not corpus.missing
    assert any("several parts" in note for note in corpus.notes)  # its json has the test clips in train, too


def test_a_video_that_is_gone_one_more_than_the_list_has_and_a_strange_label_are_reported(celeb):
    lists = celeb / "preprocessing/dataset_json/Celeb-DF-v2.json"
    content = json.loads(lists.read_text())
    content["Celeb-DF-v2"]["CelebDFv2_real"]["train"]["id9_0000"] = {
        "label": "CelebDFv2_real", "frames": ["/x/Celeb-DF-v2/Celeb-real/frames/id9_0000/000.png"]}
    content["Celeb-DF-v2"]["mystery"] = {"train": {"id1_0000": {"label": "mystery", "frames": [
        "/x/Celeb-DF-v2/Celeb-real/frames/id1_0000/000.png"]}}, "val": {}, "test": {}}
    lists.write_text(json.dumps(content))
    stray = celeb / "datasets/rgb" / CELEB.format("Celeb-real", "id7_0000")
    stray.mkdir()
    for frame in range(3):
        (stray / f"{frame:03d}.png").touch()
    corpus, rows = rows_of(celeb)
    assert corpus.missing == ["/x/Celeb-DF-v2/Celeb-real/frames/id9_0000"] and "id7_0000" not in rows
    assert any("1 video left out: named by no dataset json" in note for note in corpus.notes)
    assert any("mystery" in note for note in corpus.notes)


def test_a_video_that_is_real_in_one_place_and_fake_in_another_has_no_label(celeb):
    lists = celeb / "preprocessing/dataset_json/Celeb-DF-v2.json"
    content = json.loads(lists.read_text())
    content["Celeb-DF-v2"]["CelebDFv2_fake"]["train"]["id1_0000"] = {
        "label": "CelebDFv2_fake", "frames": content["Celeb-DF-v2"]["CelebDFv2_real"]["train"]["id1_0000"]["frames"]}
    lists.write_text(json.dumps(content))
    corpus, rows = rows_of(celeb)
    assert "id1_0000" not in rows and any("real and fake" in note for note in corpus.notes)


def test_faceforensics_has_a_level_and_its_methods(tmp_path):
    place = "FaceForensics++/{}/c23/frames/{}"
    reals = {name: place.format("original_sequences/youtube", name) for name in ("000", "003")}
    fakes = {"000_003": place.format("manipulated_sequences/Deepfakes", "000_003")}
    both = {"train": {"c23": {}}, "val": {"c23": {}}}
    root = tree(tmp_path / "DeepfakeBench", {"FaceForensics++": {
        "FF-real": {**both, "test": {"c23": reals}}, "FF-DF": {**both, "test": {"c23": fakes}}}})
    corpus, rows = rows_of(root)
    fake = rows["000_003"]
    assert (fake["method"], fake["label"], fake["official"]) == ("Deepfakes", 1, "test")
    assert (fake["target_id"], fake["source_id"]) == ("000", "003")
    assert fake["original"] == rows["000"]["video_id"] and len(corpus.rows) == 3


def test_a_damaged_list_is_refused_by_name(celeb):
    (celeb / "preprocessing/dataset_json/Celeb-DF-v2.json").write_text("{")
    with pytest.raises(CorpusError, match="Celeb-DF-v2.json is no JSON"):
        find_corpus(celeb)


def test_a_tree_without_its_lists_is_what_its_folders_say(celeb):
    (celeb / "preprocessing/dataset_json/Celeb-DF-v2.json").unlink()
    corpus, rows = rows_of(celeb)
    assert corpus.title.startswith("Celeb-DF") and rows["id0_id1_0000"]["target_id"] == "id0"
