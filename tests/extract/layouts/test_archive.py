"""Facts about unpacking zips, honest and hostile."""
import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from extract.corpus import find_corpus
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


@pytest.mark.parametrize("again", [False, True])
def test_what_stays_in_an_archive_is_counted_when_it_is_indexed(tmp_path, capsys, again):
    from extract.corpus import main

    path = zipped(tmp_path / "a.zip", [("real/1.jpg", b"1"), ("fake/2.jpg", b"2"), ("run.sh", b"no"), ("b.sh", b"no"),
                                       ("../out.jpg", b"no"), (special("real/link.jpg", stat.S_IFLNK), b"/etc/passwd")])
    for _ in range(1 + again):
        assert main(["--out", str(tmp_path / "out"), "--corpus", str(path)]) == 0
        said = capsys.readouterr().out
        if "up to date" not in said:
            assert "2 unsafe files left out" in said and "neither video nor picture: 2 .sh" in said
    corpus = find_corpus(path, tmp_path / "out/corpus")
    assert sum("unsafe" in note for note in corpus.notes) == 1 and any("2 .sh" in note for note in corpus.notes)


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


class TestTar:
    @staticmethod
    def packed(path, members, mode):
        """members: name, or a TarInfo, -> content."""
        with tarfile.open(path, mode) as file:
            for name, content in members:
                info = tarfile.TarInfo(name) if isinstance(name, str) else name
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
        return path

    @pytest.mark.parametrize("suffix, mode", [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.xz", "w:xz"),
                                              (".download", "w")])
    def test_it_is_listed_and_unpacked_as_a_zip_is(self, tmp_path, suffix, mode):
        path = self.packed(tmp_path / f"a{suffix}", [("./real/1.jpg", b"1"), ("fake/2.JPG", b"22"), ("run.sh", b"no"),
                                                     ("real/._1.jpg", b"no"), ("list.csv", b"3")], mode)
        assert archive.is_archive(path)
        found = listed(path)
        assert found.media == {"real/1.jpg": "image", "fake/2.JPG": "image"} and found.others == {".sh": 1}
        assert found.side["list.csv"].read_bytes() == b"3"
        root = unpacked(path, tmp_path / "out")
        assert root == tmp_path / "out" / "a"
        assert files_below(root) == {"real/1.jpg": b"1", "fake/2.JPG": b"22", "list.csv": b"3"}

    def test_nothing_is_written_outside_and_links_are_left_out(self, tmp_path):
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        path = self.packed(tmp_path / "evil.tar", [("../up.jpg", b"evil"), ("/abs.jpg", b"evil"), (link, b""),
                                                   ("real/good.jpg", b"good")], "w")
        assert files_below(unpacked(path, tmp_path / "deep" / "out")) == {"real/good.jpg": b"good"}
        assert listed(path).notes[0].startswith("3 unsafe files left out")
        assert not (tmp_path / "deep" / "up.jpg").exists()

    def test_a_bomb_and_a_damaged_one_are_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archive, "SMALL", 1000)
        with pytest.raises(CorpusError, match="bomb"):
            unpacked(self.packed(tmp_path / "b.tar.gz", [("real/1.jpg", bytes(10 ** 6))], "w:gz"), tmp_path / "out")
        whole = self.packed(tmp_path / "c.tar.gz", [("real/1.jpg", os.urandom(5000))], "w:gz").read_bytes()
        (tmp_path / "c.tar.gz").write_bytes(whole[:2000])
        with pytest.raises(CorpusError, match="cannot be unpacked"):
            unpacked(tmp_path / "c.tar.gz", tmp_path / "out")
        assert not [p for p in (tmp_path / "out").rglob("*.jpg")]

    @pytest.mark.parametrize("name, start", [("a.7z", b"7z\xbc\xaf\x27\x1c"), ("a.rar", b"Rar!"), ("a.gz", b"\x1f\x8b"),
                                             ("a", b"Rar!")])
    def test_other_archives_are_refused_in_one_line(self, tmp_path, name, start):
        (tmp_path / name).write_bytes(start + bytes(99))
        with pytest.raises(CorpusError, match="unpack it and name the folder"):
            find_corpus(tmp_path / name)

    def test_a_large_or_binary_file_is_never_read_whole_as_a_csv(self, tmp_path, monkeypatch):
        from extract.layouts import table

        monkeypatch.setattr(table, "LARGEST", 10)
        (tmp_path / "a.csv").write_text("path,label\na.mp4,0\n")
        with pytest.raises(CorpusError, match="is no CSV path,label .it has 0 MB"):
            find_corpus(tmp_path / "a.csv")
        (tmp_path / "b.csv").write_bytes(b"\0\1")
        with pytest.raises(CorpusError, match="it is no text"):
            find_corpus(tmp_path / "b.csv")


def test_backslashes_in_a_zip_are_slashes(tmp_path):
    path = zipped(tmp_path / "w.zip", [("real\\a.jpg", b"1"), ("fake\\x\\b.jpg", b"2"), ("fake\\", b"")])
    assert files_below(unpacked(path, tmp_path / "out")) == {"real/a.jpg": b"1", "fake/x/b.jpg": b"2"}
    corpus = find_corpus(path)
    assert {row["video_id"]: row["label"] for row in corpus.rows} == {"real/a.jpg": 0, "fake/x/b.jpg": 1}
