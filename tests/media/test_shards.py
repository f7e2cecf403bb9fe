"""Members of tars against the files they were made of."""

import gzip
import io
import json
import os
import tarfile

import numpy as np
import pytest

from mutualvideo.media import DecodeError, open_video
from mutualvideo.media import shards as module
from mutualvideo.media.shards import (
    Content,
    index_path,
    is_there,
    members_of,
    read_member,
    split_member,
    write_index,
)
from tests.data.videos import encode

from .files import BROKEN, real_files

LONG = "folder/" * 20 + "a.mp4"


def pack(tar, files, form=tarfile.GNU_FORMAT):
    """A tar of ``{name: bytes}``."""
    with tarfile.open(tar, "w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(tar)


@pytest.fixture
def tar(tmp_path):
    files = {"a.mp4": b"first" * 300, "a.cls": b"1", "x y/b.mp4": b"second", "c.mp4": b""}
    return pack(tmp_path / "train-000000.tar", files)


def test_frames_of_a_member_are_those_of_the_file(video, backend, tmp_path):
    name = os.path.basename(video)
    with open(video, "rb") as file:
        tar = pack(tmp_path / "s.tar", {"other.mp4": b"else", f"some/{name}": file.read()})
    write_index(tar)
    try:
        with open_video(video, backend) as reader:
            times, frames = reader.timestamps, reader.read([len(reader) - 1, 0])
            small = reader.read([0], short_side=24)
    except DecodeError as error:
        with pytest.raises(DecodeError) as caught:
            with open_video(f"{tar}/some/{name}", backend) as reader:
                reader.read([0])
        assert str(caught.value) == str(error).replace(video, f"{tar}/some/{name}")
        return
    with open_video(f"{tar}/some/{name}", backend) as reader:
        assert reader.timestamps == times
        np.testing.assert_array_equal(reader.read([len(reader) - 1, 0]), frames)
        reader.close()
        np.testing.assert_array_equal(reader.read([0], short_side=24), small)


@pytest.mark.slow
def test_real_files_in_a_shard(tmp_path):
    paths = [path for path, entry in real_files() if entry["file"] not in BROKEN]
    paths = [path for path in paths if path.stat().st_size < 1_000_000]
    tar = pack(tmp_path / "s.tar", {path.name: path.read_bytes() for path in paths})
    for path in paths:
        with open_video(path) as one, open_video(f"{tar}/{path.name}") as other:
            assert other.timestamps == one.timestamps
            wanted = [0, len(one) // 2, len(one) - 1]
            np.testing.assert_array_equal(other.read(wanted, 64), one.read(wanted, 64))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("indexed", [True, False])
def test_members_are_what_tarfile_extracts(tmp_path, form, indexed):
    names = ["a.mp4", "x y/b.c.mp4", LONG] + ["ä/ö.mp4"] * (form != tarfile.USTAR_FORMAT)
    files = {name: os.urandom(700 * number) for number, name in enumerate(names)}
    tar = pack(tmp_path / "s.tar", files, form)
    if indexed:
        assert list(write_index(tar)) == names
        with tarfile.open(tar) as archive:
            places = {one.name: (one.offset_data, one.size) for one in archive}
        assert members_of(tar) == places
    assert {name: read_member(tar, name) for name in names} == files
    assert index_path(tar).exists() == indexed


def test_an_index_spares_the_headers(tar, monkeypatch):
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("was scanned"))
    index_path(tar).write_text(
        json.dumps({"version": 1, "bytes": os.path.getsize(tar), "members": {"a.cls": [2560, 1]}})
    )
    assert read_member(tar, "a.cls") == b"1"  # 512 + 1500 padded to 2048, and its own header


def test_a_path_goes_on_into_a_tar(tar, tmp_path):
    assert split_member(f"{tar}/x y/b.mp4") == (tar, "x y/b.mp4")
    (tmp_path / "folder.tar").mkdir()
    for path in (tar, tmp_path / "a.mp4", tmp_path / "folder.tar/a.mp4", tmp_path / "no.tar/a.mp4"):
        assert split_member(path) is None
    assert is_there(f"{tar}/a.mp4") and is_there(tar) and not is_there(f"{tar}/none.mp4")
    assert not is_there(tmp_path / "no.tar/a.mp4")


def test_a_member_is_read_once_while_it_is_open(tar, monkeypatch):
    reads = []
    monkeypatch.setattr(module, "read_member", lambda *place: reads.append(place) or b"data")
    content = Content(f"{tar}/a.mp4")
    assert content.open().read() == content.open().read() == b"data" and len(reads) == 1
    content.release()
    assert content.open().name == f"{tar}/a.mp4" and len(reads) == 2


def truncated(tar):
    os.truncate(tar, os.path.getsize(tar) - 10240 + 700)


def indexed_then_truncated(tar):
    write_index(tar)
    truncated(tar)


def of_another(tar):
    """An index of a tar of the same size whose members lie elsewhere."""
    other = pack(f"{tar}.other", {"x y/b.mp4": b"second", "a.mp4": b"first" * 300})
    write_index(other)
    os.replace(index_path(other), index_path(tar))


def changed(**values):
    def change(tar):
        write_index(tar)
        found = json.loads(index_path(tar).read_text())
        index_path(tar).write_text(json.dumps({**found, **values}))

    return change


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda tar: None, "none.mp4: the shard holds no such member"),
        (truncated, r"tar: is truncated, or no uncompressed tar \(.*\); copy it again"),
        (indexed_then_truncated, "tar: has 700 bytes, and 10240 by its index .*truncated or of"),
        (of_another, "b.mp4: is not where .*tar.json says; delete the index"),
        (changed(version=2), "tar.json: is of version 2"),
        (changed(members={"x y/b.mp4": [-5, 3]}), "tar.json: is no index of a shard"),
        (changed(members=[1]), "tar.json: is no index of a shard"),
        (changed(members={"x y/b.mp4": [10240, 30]}), "b.mp4: the shard is truncated"),
        (lambda tar: index_path(tar).write_bytes(b"\xff"), "tar.json: cannot be read"),
        (lambda tar: index_path(tar).write_text("[[]"), "tar.json: is no index"),
        (
            lambda tar: open(tar, "wb").write(gzip.compress(bytes(20000))),
            "is truncated, or no uncompressed tar",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(tar, harm, words):
    harm(tar)
    name = "none.mp4" if "none" in words else "x y/b.mp4"
    with pytest.raises(DecodeError, match=words) as caught:
        open_video(f"{tar}/{name}")
    assert "\n" not in str(caught.value)


def test_no_such_shard(tmp_path):
    with pytest.raises(DecodeError, match="no.tar/a.mp4: no such video file"):
        open_video(tmp_path / "no.tar/a.mp4")
    with pytest.raises(DecodeError, match="no.tar: the shard cannot be opened"):
        read_member(tmp_path / "no.tar", "a.mp4")


def test_a_member_that_is_no_video(tmp_path):
    tar = pack(tmp_path / "s.tar", {"a.mp4": b"no video", "b.mp4": b""})
    for name in ("a.mp4", "b.mp4"):
        with pytest.raises(DecodeError, match=f"{name}: cannot be opened as a video"):
            open_video(f"{tar}/{name}")


def test_a_tar_as_another_tool_packs_it(tmp_path):
    """Folders, links and padding to other records do not count; the video is read."""
    path = encode(tmp_path / "v.mp4", range(0, 30, 3))
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        (tmp_path / "folder").mkdir()
        archive.add(tmp_path / "folder", "folder")
        archive.add(path, "folder/v.mp4")
        link = tarfile.TarInfo("link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "folder/v.mp4"
        archive.addfile(link)
    assert list(members_of(tmp_path / "s.tar")) == ["folder/v.mp4"]
    with open_video(tmp_path / "s.tar/folder/v.mp4") as one, open_video(path) as other:
        np.testing.assert_array_equal(one.read([5]), other.read([5]))


@pytest.mark.parametrize("name", ["./v.mp4", "./folder//v.mp4", "./" + "long/" * 30 + "v.mp4"])
def test_members_that_tar_calls_by_a_dot(name, tmp_path):
    """What ``tar -cf s.tar .`` makes; no path can say the dot."""
    path = encode(tmp_path / "v.mp4", range(0, 30, 3))
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        archive.add(path, name)
    with open_video(tmp_path / "s.tar" / name) as one, open_video(path) as other:
        np.testing.assert_array_equal(one.read([5]), other.read([5]))
