"""Facts about judging pictures and about what their files say of themselves."""
import json
import shutil
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from classify import image
from classify.command import fact_lines
from classify.evaluation.score import video_scores
from classify.judging.file_metadata import facts_of, jpeg_quality
from classify.judging.judge import Judge, decide
from classify.models.network import build, save_checkpoint, scores_of
from classify.models.options import ModelOptions
from extract.faces.detector import FaceOptions
from pipeline.options import as_record
from tests.cards import JUDGING

SIZE = 32


@pytest.fixture(params=["whole", "face"])
def model(request, tmp_path):
    """A checkpoint with random weights that judges pictures whole, or by their face."""
    return checkpoint(tmp_path / f"{request.param}.safetensors", request.param)


def checkpoint(path, crop, centre=1.0):
    torch.manual_seed(0)
    net, card = build(ModelOptions(backbone="small-cnn", weights="none", size=SIZE))
    torch.nn.init.normal_(net.head[-1].weight)
    save_checkpoint(path, net, {**card, **JUDGING, "crop": crop, "centre": centre,
                                "faces": as_record(FaceOptions(crop=crop))})
    return path


@pytest.fixture
def judge(model, capfd):
    """judge(*arguments) -> (status, lines on stdout, lines on stderr)."""

    def run(*arguments):
        status = image.main([*map(str, arguments), "--device", "cpu", "--model", str(model)])
        said = capfd.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    run.whole = "whole" in model.name
    return run


@pytest.fixture
def noise(tmp_path):
    path = tmp_path / "noise ü.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
    return path


def test_one_picture_is_enough_for_a_verdict_and_without_a_face_there_is_none():
    card = {"aggregation": "mean", "threshold": 0.4}
    assert decide([0.4], card, 1, least=1) == ("fake", pytest.approx(0.4), "")
    assert decide([], card, 1, least=1) == ("undecided", None, "no face")


def test_in_a_table_too_a_picture_needs_one_score_and_a_clip_three():
    rows = [("a.JPG", 1, "", [0.4]), ("b.png", 1, "no face", []), ("c.png", 0, "not a picture", []),
            ("d.mp4", 5, "", [0.4]), ("e.mp4", 5, "", [0.4] * 3)]
    videos = pd.DataFrame([row[:3] for row in rows], columns=["video_id", "n_read", "reason"])
    videos["modality"] = ["image"] * 3 + ["video"] * 2
    frames = pd.DataFrame([(name, score) for name, _, _, scores in rows for score in scores],
                          columns=["video_id", "score"])
    scored = video_scores(videos, frames, {"aggregation": "mean", "threshold": 0.4})
    assert scored["verdict"].tolist() == ["fake", "undecided", "undecided", "undecided", "fake"]
    assert scored["reason"].tolist() == ["", "no face", "not a picture",
                                         "a face in only 1 of 5 frames, at least 3 are needed", ""]


def test_a_picture_without_a_face_is_judged_whole_or_not_at_all(judge, noise):
    status, [line], errors = judge(noise)
    assert status == 0 and errors == [] and line.startswith(f"{noise}  ")
    assert ("score 0." in line) if judge.whole else line.endswith("UNDECIDED: no face  no score")
    _, [line], _ = judge(noise, "--json")
    said = json.loads(line)
    assert (said["n_asked"], said["n_read"], said["n_faces"]) == (1, 1, int(judge.whole))
    assert len(said["frames"]) == int(judge.whole) and said["facts"]["format"] == "PNG"


@pytest.mark.parametrize("centre", [1.0, 0.5])
def test_the_score_is_the_networks_of_the_whole_picture(tmp_path, noise, centre):
    judge = Judge(checkpoint(tmp_path / "m.safetensors", "whole", centre), "cpu")
    verdict, look = judge.judge_picture(noise)
    assert look.input.shape == (SIZE, SIZE, 3) and look.box == (0, 0, SIZE, SIZE)
    if centre == 1:
        assert np.array_equal(look.input, look.picture)
    else:  # twice as large, so that its centre has the network's size
        large = cv2.resize(look.picture, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(look.input, large[SIZE // 2:-SIZE // 2, SIZE // 2:-SIZE // 2])
    batch = torch.from_numpy(look.input).permute(2, 0, 1)[None]
    assert verdict.score == pytest.approx(float(scores_of(judge.net, batch)), abs=1e-5)


def test_a_face_is_found_and_the_picture_shows_the_box_and_what_the_network_saw(shared, tmp_path):
    photo = sorted(p for p in shared("faces").rglob("*") if p.suffix in (".jpg", ".png"))[0]
    model = checkpoint(tmp_path / "m.safetensors", "face")
    verdict, look = Judge(model, "cpu").judge_picture(photo)
    x0, y0, x1, y1 = look.box
    assert verdict.score is not None and 0 < x1 - x0 < look.picture.shape[1] and 0 < y1 - y0
    shown = f"{tmp_path}/x/look.png"
    assert image.main([str(photo), "--model", str(model), "--device", "cpu", "--picture", shown]) == 0
    drawn = cv2.imread(shown)[:, :, ::-1]
    assert drawn.shape[0] == 40 + image.PANEL_PX
    seen = drawn[40:, -image.PANEL_PX:]
    assert np.array_equal(seen[::image.PANEL_PX // SIZE, ::image.PANEL_PX // SIZE], look.input)
    left = drawn[40:, :-image.PANEL_PX]
    assert (left == (255, 160, 0)).all(2).any()


def test_bad_pictures_are_a_line_on_stderr_each_and_the_rest_go_on(judge, noise, tmp_path):
    (tmp_path / "words.jpg").write_text("words " * 99)
    (tmp_path / "cut.png").write_bytes(noise.read_bytes()[:500])
    (tmp_path / "folder").mkdir()
    bad = [tmp_path / name for name in ("words.jpg", "cut.png", "missing.jpg", "folder")]
    status, lines, errors = judge(*bad, noise)
    assert status == 1 and len(lines) == 1 and lines[0].startswith(str(noise))
    for path, why, error in zip(bad, ("not a picture", "damaged", "no such file", "no picture in this"), errors):
        assert error.startswith(f"error: {path}: ") and why in error
    status, lines, _ = judge(*bad, "--json")
    assert status == 1 and all(json.loads(line)["error"] and not json.loads(line)["verdict"] for line in lines)


def test_a_folder_is_all_its_pictures_and_one_file_cannot_show_several(judge, noise, tmp_path):
    (tmp_path / "f" / "sub").mkdir(parents=True)
    for name in ("a.PNG", "sub/b.jpg", "sub/.hidden.png", "notes.txt"):
        shutil.copy(noise, tmp_path / "f" / name)
    _, lines, _ = judge(tmp_path / "f")
    assert [line.split("  ")[0] for line in lines] == [f"{tmp_path}/f/a.PNG", f"{tmp_path}/f/sub/b.jpg"]
    status, _, [error] = judge(tmp_path / "f", "--picture", tmp_path / "look.png")
    assert status == 1 and "2 pictures" in error and not (tmp_path / "look.png").exists()


def sign(path, signed, elsewhere=None):
    """Write a picture with a C2PA manifest: a made-up authority says "A Camera" of "Somebody"."""
    from datetime import datetime, timedelta

    c2pa = pytest.importorskip("c2pa")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def certificate(common, issuer, key, issuer_key, authority):
        name, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who),
                               x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Somebody")]) for who in (common, issuer))
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                               "encipher_only", "decipher_only"), False)
        made = (x509.CertificateBuilder().subject_name(name).issuer_name(by).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(datetime.now() - timedelta(days=2))
                .not_valid_after(datetime.now() + timedelta(days=2))
                .add_extension(x509.BasicConstraints(authority, None), True)
                .add_extension(x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority,
                                             crl_sign=authority, **usage), True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False))
        if not authority:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return made.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    key, root = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = certificate("A Camera", "Root", key, root, False) + certificate("Root", "Root", root, root, True)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.NoEncryption())
    made = {"action": "c2pa.created",
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"}
    manifest = {"claim_generator_info": [{"name": "drawing", "version": "1"}], "title": "a",
                "assertions": [{"label": "c2pa.actions", "data": {"actions": [made]}}]}
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, secret, None))
    with c2pa.Builder(manifest) as builder, open(path, "rb") as source, open(signed, "w+b") as target:
        if elsewhere:
            builder.set_no_embed()
            builder.set_remote_url(elsewhere)
        builder.sign(signer, "image/jpeg", source, target)


class TestFacts:
    def test_exif_is_told_but_not_where(self, tmp_path):
        exif = Image.Exif()
        exif[0x010F], exif[0x0110], exif[0x0131] = "Canon", "EOS\0", "GIMP"
        exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
        exif.get_ifd(0x8825).update({1: "N", 2: (12.0, 34.0, 56.0)})
        Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", exif=exif, quality=83)
        facts = facts_of(tmp_path / "a.jpg")
        assert {k: facts[k] for k in ("format", "size_px", "camera_make", "camera_model", "software", "date_taken",
                                      "gps", "jpeg_quality", "c2pa")} == {
            "format": "JPEG", "size_px": "8 x 6", "camera_make": "Canon", "camera_model": "EOS", "software": "GIMP",
            "date_taken": "2024:01:02 03:04:05", "gps": True, "jpeg_quality": "83", "c2pa": False}
        assert "34" not in json.dumps({k: v for k, v in facts.items() if k != "bytes"})

    def test_texts_of_a_png_are_told_and_cut(self, tmp_path):
        info = PngInfo()
        info.add_text("parameters", "a cat\nSteps: 20")
        info.add_itxt("long", "x" * 10_000)
        Image.new("RGB", (8, 6)).save(tmp_path / "a.png", pnginfo=info)
        facts = facts_of(tmp_path / "a.png")
        assert facts["texts"] == {"parameters": "a cat\nSteps: 20", "long": "x" * 2000} and facts["gps"] is False

    def test_a_c2pa_box_is_seen(self, tmp_path):
        Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
        content = (tmp_path / "a.jpg").read_bytes()
        box = b"JP\0\x01\0\0\0\x01\0\0\0\x20jumb\0\0\0\x18jumdc2pa"
        segment = b"\xff\xeb" + (len(box) + 2).to_bytes(2, "big") + box
        (tmp_path / "b.jpg").write_bytes(content[:2] + segment + content[2:])
        assert (facts_of(tmp_path / "a.jpg")["c2pa"], facts_of(tmp_path / "b.jpg")["c2pa"]) == (False, True)

    def test_who_signed_is_told_and_whether_the_file_is_still_as_it_was_signed(self, tmp_path):
        Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "a.jpg")
        assert "credentials" not in facts_of(tmp_path / "a.jpg")
        sign(tmp_path / "a.jpg", tmp_path / "b.jpg")
        said = facts_of(tmp_path / "b.jpg")
        assert said["c2pa"] and said["credentials"] == {
            "signer": "A Camera, Somebody", "signature": "valid: the file is as it was signed", "tool": "drawing",
            "actions": "c2pa.created (trainedAlgorithmicMedia)"}
        content = bytearray((tmp_path / "b.jpg").read_bytes())
        content[-20] ^= 1
        (tmp_path / "c.jpg").write_bytes(content)
        changed = facts_of(tmp_path / "c.jpg")["credentials"]
        assert changed["signature"].startswith("NOT valid") and "dataHash" in changed["signature"]
        assert changed["signer"] == "A Camera, Somebody"

    def test_a_manifest_that_is_elsewhere_is_not_fetched(self, tmp_path, monkeypatch):
        """And without the extra there is only what stands in the file."""
        Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
        sign(tmp_path / "a.jpg", tmp_path / "b.jpg", elsewhere="http://127.0.0.1:9/none")
        monkeypatch.setattr("classify.judging.file_metadata._has_c2pa", lambda path: True)
        assert "must fetch" in facts_of(tmp_path / "b.jpg")["credentials"]["signature"]
        monkeypatch.setitem(sys.modules, "c2pa", None)
        said = facts_of(tmp_path / "b.jpg")
        assert said["credentials"] == {} and not any("credentials" in line for line in fact_lines(said))

    @pytest.mark.parametrize("quality", [1, 30, 50, 75, 90, 100])
    def test_libjpegs_quality_is_read_off_its_tables(self, tmp_path, quality):
        Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", quality=quality)
        assert facts_of(tmp_path / "a.jpg")["jpeg_quality"] == str(quality)

    def test_tables_of_another_program_give_an_estimate(self):
        assert jpeg_quality([1] * 63 + [2]).startswith("about 99")

    def test_a_video_tells_container_codec_and_tags(self, demo_corpus):
        facts = facts_of(demo_corpus / "Celeb-real" / "id0_0000.mp4")
        assert "mp4" in facts["container"] and facts["video"]["codec"] and facts["video"]["size_px"] == "256 x 192"
        json.dumps(facts, allow_nan=False)

    def test_what_cannot_be_read_says_little_and_raises_nothing(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(b"words")
        (tmp_path / "a.mp4").write_bytes(b"words")
        assert facts_of(tmp_path / "a.jpg") == facts_of(tmp_path / "a.mp4") == {"bytes": 5, "c2pa": False}
        assert facts_of(tmp_path / "missing.jpg") == {}

    def test_no_score_rests_on_them(self, tmp_path, noise):
        judge = Judge(checkpoint(tmp_path / "m.safetensors", "whole"), "cpu")
        info = PngInfo()
        info.add_text("parameters", "Stable Diffusion")
        Image.open(noise).save(tmp_path / "said.png", pnginfo=info)
        (said, _), (silent, _) = judge.judge_picture(tmp_path / "said.png"), judge.judge_picture(noise)
        assert said.score == silent.score and said.facts != silent.facts
