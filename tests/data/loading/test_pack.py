import cv2
import numpy as np
import pytest

from data.loading.pack import Pack
from pipeline.errors import TableError
from pipeline.tables import FACES, write_json, write_table


@pytest.fixture
def out(tmp_path):
    """OUT with five crops, red of 0, 40, 80, 120 and 160, and a second face of the first frame that has no crop."""
    faces = []
    for number in range(5):
        name = f"v{number}.mp4/000000.png"
        (tmp_path / "faces" / f"v{number}.mp4").mkdir(parents=True)
        red = np.zeros((40, 40, 3), np.uint8)
        red[..., 2] = number * 40
        cv2.imwrite(str(tmp_path / "faces" / name), red)
        faces.append({**dict.fromkeys(FACES, 0), "video_id": f"v{number}.mp4", "crop": name})
    faces.append({**dict.fromkeys(FACES, 0), "video_id": "v0.mp4", "face": 1, "crop": ""})
    write_table(tmp_path / "faces" / "faces.csv", faces, FACES)
    write_json(tmp_path / "faces" / "options.json", {})
    return tmp_path


def test_a_pack_holds_each_crop_once_as_rgb_at_the_input_size(out):
    pack = Pack(out, 20, 0.5)
    assert pack.pictures.shape == (5, 20, 20, 3) and pack.pictures.dtype == np.uint8
    places = pack.numbers(["v3.mp4/000000.png", "v1.mp4/000000.png"])
    assert pack.pictures[places][:, 0, 0].tolist() == [[120, 0, 0], [40, 0, 0]]


def test_a_pack_is_kept_until_what_it_was_made_from_changes(out):
    path = out / "packed" / "20-1.npy"
    Pack(out, 20, 1.0)
    made = path.stat().st_ino
    Pack(out, 20, 1.0)
    assert path.stat().st_ino == made
    cv2.imwrite(str(out / "faces" / "v0.mp4" / "000000.png"), np.full((40, 40, 3), 77, np.uint8))
    assert (Pack(out, 20, 1.0).pictures[0] == 77).all()
    assert not list(path.parent.glob(".*"))


def test_another_size_is_another_pack(out):
    Pack(out, 20, 1.0)
    assert Pack(out, 16, 1.0).pictures.shape[1] == 16 and len(list((out / "packed").glob("*.npy"))) == 2


def test_a_half_written_or_foreign_pack_is_made_again(out):
    path = out / "packed" / "20-1.npy"
    Pack(out, 20, 1.0)
    path.with_suffix(".json").write_text("{")
    path.write_bytes(path.read_bytes()[:100])
    assert Pack(out, 20, 1.0).pictures.shape == (5, 20, 20, 3)


def test_a_missing_crop_is_an_error_that_leaves_no_pack(out):
    (out / "faces" / "v2.mp4" / "000000.png").unlink()
    with pytest.raises(TableError, match="v2.mp4/000000.png cannot be read"):
        Pack(out, 20, 1.0)
    assert not list((out / "packed").glob("*")) and not list((out / "packed").glob(".*"))


def test_pictures_that_are_judged_whole_are_packed_from_the_corpus_squared_and_upright(out, tmp_path_factory):
    corpus = tmp_path_factory.mktemp("pictures")
    wide = np.zeros((30, 60, 3), np.uint8)
    wide[..., 2] = 200
    (corpus / "real").mkdir()
    cv2.imwrite(str(corpus / "real" / "wide.png"), wide)
    write_table(out / "faces" / "faces.csv", [{**dict.fromkeys(FACES, 0), "video_id": "real/wide.png",
                                               "crop": "real/wide.png"}], FACES)
    write_json(out / "faces" / "options.json", {"crop": "whole", "crop_folder": str(corpus)})
    assert Pack(out, 32, 1.0).pictures.tolist() == np.broadcast_to([200, 0, 0], (1, 32, 32, 3)).tolist()
