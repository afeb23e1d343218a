"""Facts about unpacking zips, honest and hostile."""
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from extract.layouts import archive
from extract.layouts.archive import listed, unpacked
from pipeline.errors import CorpusError


def zipped(path, members, how=zipfile.ZIP_DEFLATED):
    """members: name, or a ZipInfo, -> content."""
    with zipfile.ZipFile(path, "w", how) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def files_below(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def special(name, kind):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


def test_files_of_a_corpus_come_out_and_nothing_else(tmp_path):
    path = zipped(tmp_path / "a b.zip", [("real/ü 1.jpg", b"1"), ("x/fake/2.JPG", b"2"), ("list.csv", b"3"),
                                         ("run.sh", b"no"), ("__MACOSX/real/1.jpg", b"no"), ("real/.x.jpg", b"no")])
    root = unpacked(path, tmp_path / "out")
    assert root == tmp_path / "out" / "a b"
    assert files_below(root) == {"real/ü 1.jpg": b"1", "x/fake/2.JPG": b"2", "list.csv": b"3"}


def test_nothing_is_written_outside(tmp_path):
    """Zip slip: names that climb, absolute names, links that later names lead through, devices."""
    target = tmp_path / "deep" / "out"
    names = ["../up.jpg", "real/../../../up.jpg", "/abs.jpg", f"{tmp_path}/abs.jpg", "C:/drive.jpg", "..\\up.jpg",
             "real//double.jpg", "real/new\nline.jpg", "x" * 300 + ".jpg"]
    members = [(name, b"evil") for name in names]
    members += [(special("link.jpg", stat.S_IFLNK), str(tmp_path)), (special("link", stat.S_IFLNK), str(tmp_path)),
                (special("pipe.jpg", stat.S_IFIFO), b""), ("link/through.jpg", b"evil"), ("real/good.jpg", b"good")]
    path = zipped(tmp_path / "evil.zip", members)
    root = unpacked(path, target)
    assert files_below(root) == {"real/good.jpg": b"good", "link/through.jpg": b"evil"}  # below a folder, not a link
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))
    assert {p for p in files_below(tmp_path) if not p.startswith("deep/out/")} == {"evil.zip"}
    [note] = listed(path).notes
    assert note.startswith("12 unsafe files left out")


def test_a_bomb_is_refused_before_a_byte_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "SMALL", 1000)
    path = zipped(tmp_path / "bomb.zip", [(f"real/{n}.jpg", bytes(10 ** 6)) for n in range(3)])
    with pytest.raises(CorpusError, match="bomb"):
        unpacked(path, tmp_path / "out")
    assert not any(p.suffix == ".jpg" for p in (tmp_path / "out").rglob("*"))
    monkeypatch.setattr(archive, "MOST_FILES", 2)
    with pytest.raises(CorpusError, match="3 entries"):
        unpacked(path, tmp_path / "out")


def test_a_file_that_is_larger_than_its_entry_says_writes_no_byte_more(tmp_path):
    path = zipped(tmp_path / "liar.zip", [("real/a.jpg", bytes(100_000))])
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    content[place:place + 4] = struct.pack("<I", 10)
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="fetch it again"):
        unpacked(path, tmp_path / "out")
    assert not (tmp_path / "out" / "liar").exists()


def test_a_full_disk_is_said_before_unpacking(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", [("real/a.jpg", b"12345")])
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 4})())
    with pytest.raises(CorpusError, match="has room for"):
        unpacked(path, tmp_path / "out")


@pytest.mark.parametrize("damage", ["cut", "flipped", "words", "encrypted"])
def test_a_damaged_or_encrypted_zip_is_one_clear_error_and_leaves_nothing(tmp_path, damage):
    path = zipped(tmp_path / "a.zip", [("real/a.jpg", os.urandom(5000)), ("real/b.jpg", os.urandom(5000))])
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[6000:]
    elif damage == "flipped":
        content[8000] ^= 255
    elif damage == "words":
        content = bytearray(b"words")
    else:
        for place in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
            content[place] |= 1
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="encrypted" if damage == "encrypted" else "cannot be unpacked"):
        unpacked(path, tmp_path / "out")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.suffix == ".jpg"]


def test_it_is_unpacked_once_and_again_when_the_zip_or_what_is_there_is_another(tmp_path):
    path = zipped(tmp_path / "a.zip", [("real/a.jpg", b"1")])
    root = unpacked(path, tmp_path / "out")
    (root / "real" / "mine.txt").touch()
    assert unpacked(path, tmp_path / "out") == root and (root / "real" / "mine.txt").exists()
    zipped(path, [("real/a.jpg", b"22")])
    assert files_below(unpacked(path, tmp_path / "out")) == {"real/a.jpg": b"22"}
    # A run that was killed while unpacking has left a partial folder and no final one.
    root.rename(root.with_name(".a.partial"))
    assert files_below(unpacked(path, tmp_path / "out")) == {"real/a.jpg": b"22"}
    assert not root.with_name(".a.partial").exists()


def test_a_name_that_is_a_file_and_a_folder_is_an_error_not_a_traceback(tmp_path):
    path = zipped(tmp_path / "a.zip", [("real.jpg", b"1"), ("real.jpg/a.jpg", b"2")])
    with pytest.raises(CorpusError, match="a file and a folder"):
        unpacked(path, tmp_path / "out")
