import hashlib
import re
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import pytest

from data.demo import face_model
from data.demo.make import DemoOptions, main, make_demo, plan, stage
from extract.faces.detector import overlap
from pipeline.errors import CorpusError, OptionsError
from pipeline.options import from_record
from pipeline.tables import DEMO_MARK

SMALL = DemoOptions(identities=4, clips=2, seconds=1.0, fps=5, youtube=2)


def contents(root):
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*") if path.is_file()}


def frames(path):
    with av.open(str(path)) as container:
        return [(float(f.time), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def pairs():
    """(real, fake, job, number of the fake) of every fake of the small corpus."""
    return [(job.real, name, job, k) for job in plan(SMALL) for k, (_, name) in enumerate(job.fakes)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "corpus"
    assert make_demo(root, SMALL, workers=1)[1:] == (10, 8, 8, 18)
    return root


def test_names_follow_the_grammar_of_celeb_df(corpus):
    grammar = {"Celeb-real": r"id\d+_\d{4}\.mp4", "Celeb-synthesis": r"id\d+_id\d+_\d{4}\.mp4",
               "YouTube-real": r"\d{5}\.mp4"}
    for folder, pattern in grammar.items():
        assert (names := [path.name for path in (corpus / folder).iterdir()])
        assert all(re.fullmatch(pattern, name) for name in names)
    assert len(list(corpus.rglob("*.mp4"))) == 18
    assert sorted(path.name for path in corpus.iterdir()) == sorted([*grammar, DEMO_MARK, "List_of_testing_videos.txt"])


def test_every_fake_is_made_on_the_real_clip_that_its_name_says(corpus):
    for fake in (corpus / "Celeb-synthesis").iterdir():
        target, source, number = fake.stem.split("_")
        assert target != source and (corpus / "Celeb-real" / f"{target}_{number}.mp4").is_file()


def test_the_list_names_the_clips_of_the_last_groups_and_1_is_real(corpus):
    lines = [line.split(" ") for line in (corpus / "List_of_testing_videos.txt").read_text().splitlines()]
    assert {name for _, name in lines} == {path.relative_to(corpus).as_posix() for path in corpus.rglob("id[23]_*.mp4")}
    assert all(flag == ("0" if "synthesis" in name else "1") for flag, name in lines)


@pytest.mark.parametrize("options", [DemoOptions(), DemoOptions(identities=13, group=3, fakes=2, clips=1),
                                     DemoOptions(identities=200, clips=3)])
def test_swaps_stay_in_groups_and_groups_stay_in_one_part(options):
    part = {}
    for job in plan(options):
        for person in (job.person, *(other for other, _ in job.fakes)):
            assert part.setdefault(person, job.test) == job.test
        assert all(abs(job.person - other) < 2 * options.group for other, _ in job.fakes)
        assert len({name for _, name in job.fakes}) == options.fakes
    assert len(part) == options.identities and 0 < sum(part.values()) <= .4 * options.identities


def test_the_same_options_give_the_same_bytes_with_any_number_of_workers(corpus, tmp_path):
    make_demo(tmp_path / "again", SMALL, workers=2)
    assert contents(tmp_path / "again") == contents(corpus)


def test_a_finished_corpus_is_left_alone_and_an_interrupted_one_is_completed(corpus, tmp_path):
    before = contents(corpus)
    assert make_demo(corpus, SMALL).n_drawn == 0
    (corpus / "Celeb-synthesis" / "id0_id1_0000.mp4").unlink()
    assert make_demo(corpus, SMALL, workers=1).n_drawn == 2 and contents(corpus) == before


def test_a_folder_with_anything_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CorpusError, match="something else"):
        make_demo(tmp_path, SMALL)
    assert main([str(tmp_path)]) == 1 and capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("wrong", [{"group": 1}, {"fakes": 2}, {"width": 383}, {"identities": 1}, {"clips": 0}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises((OptionsError, ValueError)):
        from_record(DemoOptions, wrong)


def test_real_and_fake_have_the_same_size_length_and_timestamps(corpus):
    for real, fake, _, _ in pairs():
        a, b = frames(corpus / real), frames(corpus / fake)
        assert [t for t, _ in a] == [t for t, _ in b] == pytest.approx(np.arange(5) / 5)
        assert a[0][1].shape == b[0][1].shape == (288, 384, 3)


def test_opencv_reads_the_clips_too(corpus):
    reader = cv2.VideoCapture(str(corpus / pairs()[0][1]))
    assert reader.get(cv2.CAP_PROP_FPS) == 5 and all(reader.read()[0] for _ in range(5)) and not reader.read()[0]


def test_before_coding_a_fake_differs_in_the_inner_face_only():
    _, _, job, _ = pairs()[0]
    scene, overlays, _ = stage(SMALL, job)
    for time_s in (0.0, 0.4):
        real, fake = (f.astype(int) for f in scene.draw(time_s, overlays))
        hull = cv2.convexHull(np.rint(scene.landmarks(time_s)[:-5]).astype(np.int32))  # all but the neck
        head = cv2.dilate(cv2.fillConvexPoly(np.zeros(real.shape[:2], np.uint8), hull, 1), np.ones((9, 9)))
        assert np.array_equal(real[head == 0], fake[head == 0])
        assert (np.abs(real - fake).max(2) > 0).mean() < .12 and np.abs(real - fake).max() > 20


def test_after_coding_the_difference_is_still_in_the_face(corpus):
    for real, fake, job, _ in pairs()[::3]:
        scene, _, _ = stage(SMALL, job)
        for (time_s, a), (_, b) in zip(frames(corpus / real), frames(corpus / fake)):
            off = np.abs(a.astype(float) - b)
            x0, y0, x1, y1 = face_box(scene, time_s)
            inside = off[y0:y1, x0:x1].mean()
            off[max(0, y0 - 10):y1 + 10, x0 - 10:x1 + 10] = 0
            assert inside > 2 and off.mean() < 1.5 and off.mean() < inside / 4  # levels; coders spread a difference


def face_box(scene, time_s):
    """x0 y0 x1 y1 of jaw and brows, px of the frame."""
    drawn = scene.landmarks(time_s)[face_model.points(face_model.JAW + face_model.BROWS)]
    return [*np.floor(drawn.min(0)).astype(int), *np.ceil(drawn.max(0)).astype(int)]


def test_mtcnn_finds_the_drawn_face_and_nothing_else(corpus):
    from facenet_pytorch import MTCNN

    detector, found = MTCNN(keep_all=True, device="cpu"), []
    for job in plan(SMALL):
        scene, _, _ = stage(SMALL, job)
        for name in (job.real, *(name for _, name in job.fakes)):
            shown = frames(corpus / name)[::2]
            boxes, confidences = detector.detect(np.stack([rgb for _, rgb in shown]))
            for (time_s, _), some, sure in zip(shown, boxes, confidences):
                some = [] if some is None else [box for box, p in zip(some, sure) if p >= .9]
                found.append(len(some) == 1 and overlap(some[0], face_box(scene, time_s)) > .5)
    assert len(found) == 54 and np.mean(found) >= .95


def test_the_face_model_is_small_and_carries_its_attribution():
    assert face_model.MODEL_FILE.stat().st_size < 4 * 2**20
    model = face_model.load_model()
    assert "DeBruine" in model.attribution and "10.6084/m9.figshare.5047666" in model.attribution
    assert "CC BY 4.0" in model.attribution
    assert len(model.components[0]) <= 71  # half of the 142 people: not enough to spell out each of them


def test_other_seeds_draw_other_people():
    model = face_model.load_model()
    people = [face_model.sample_identity(model, np.random.default_rng(seed)).texture.astype(float) for seed in range(8)]
    apart = [np.abs(a - b)[84:212, 72:184, :3].mean() for i, a in enumerate(people) for b in people[:i]]
    assert min(apart) > 6  # levels


@pytest.mark.slow
def test_no_drawn_person_is_one_of_the_photos(shared):
    files = sorted(shared("faces", "consented").glob("*/*.pts"))
    model = face_model.load_model()
    corners = np.s_[84:212, 72:184]

    def look(picture):
        grey = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_BGR2GRAY)[corners].astype(float)
        return cv2.GaussianBlur(grey, (0, 0), 1.5).ravel()

    photos = []
    for file in files:
        shape, picture = face_model.measure(file)
        mean_shape = face_model.with_frame(model.mean_shape)
        photos.append(look(face_model.warp(picture, face_model.with_frame(shape), mean_shape, model.triangles)))
    drawn = [look(face_model.sample_identity(model, np.random.default_rng([9, i])).texture) for i in range(100)]
    usual = np.mean(photos, axis=0)  # what all faces share says nothing
    drawn, photos = drawn - usual, photos - usual
    alike = np.corrcoef(drawn, photos)[:100, 100:]
    between = np.corrcoef(photos) - 2 * np.eye(len(photos))
    # People drawn are less like their nearest photo than people are like one another.
    assert alike.max() < between.max() and np.median(alike.max(1)) < np.median(between.max(1))


def test_help_answers_at_once():
    begin = time.process_time(), time.monotonic()
    text = subprocess.run([sys.executable, "-X", "importtime", "-m", "data.demo.make", "--help"], capture_output=True,
                          text=True, check=True)
    assert "--identities" in text.stdout and time.monotonic() - begin[1] < 5
    assert not re.search(r"\b(numpy|cv2|av|torch)\b", text.stderr)
