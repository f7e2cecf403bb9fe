"""Resized videos in shards: tar files as the webdataset package reads them, and lists of members.

A cluster's file system gives large reads and few files, not millions of small ones. Videos are
shuffled before they are packed: a few shards hold some of every class, though the list be sorted.
"""

import hashlib
import io
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mutualvideo.data.prepare.check import as_text
from mutualvideo.data.prepare.jobs import run_jobs
from mutualvideo.data.prepare.resize import Settings, Summary, resize_job, write_bad
from mutualvideo.data.prepare.video_tree import (
    become,
    begin_or_continue,
    listed_videos,
    names_of,
    remove_leftovers,
    separate_folders,
    write_if_new,
)
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.media.shards import SUFFIX, index_path, members_of, write_index

# Resized videos that wait for their shard to be full.
_WAITING = ".waiting"
_MIB = 2**20


@dataclass(frozen=True)
class _Member:
    """A video that goes into a shard.

    Args:
        path: of the video, relative to the source.
        name: in the tar.
        shards: what the names of its shards begin with.
        label: (name, text) of its label in the tar.
    """

    path: Path
    name: str
    shards: str
    label: tuple


def resize_to_shards(
    source,
    output,
    lists,
    settings=None,
    shard_mb=256,
    separator=" ",
    prefix="",
    workers=None,
    timeout=None,
    progress=None,
):
    """Re-encode the videos of lists as mp4, packed into tar files, and write the lists anew.

    Of ``train.csv`` the tars are ``train-000000.tar`` and so on, each with its index beside it. A
    video ``jump/a.avi`` is a member ``jump/a.mp4``, and its label ``jump/a.cls``, or of several
    ``jump/a.json``, a list. Its line in the new list is ``train-000000.tar/jump/a.mp4 LABEL``, and
    lines stand in the order of the members. A dot within the name of a file becomes ``_``, for
    webdataset takes a name up to its first dot. A video of two lists is packed for the first.

    Run again, it goes on; tars that are there are finished.
    ``bad.csv`` holds path and reason of what could not be resized, and what is left out of the
    lists.

    Args:
        source: folder that the videos lie below.
        output: folder, made if need be.
        lists: of videos, at least one.
        settings: :class:`~mutualvideo.data.prepare.resize.Settings`; ``None``: the defaults.
        shard_mb: how large a tar grows, in MiB; one video that is larger is a tar by itself.
        separator, prefix: of the lists; see
            :func:`mutualvideo.data.annotations.read_annotations`.
        workers, timeout, progress: see :func:`mutualvideo.data.prepare.jobs.run_jobs`.

    Returns:
        :class:`~mutualvideo.data.prepare.resize.Summary`.

    Raises:
        InputError: if there is no list, a list is bad, names a path that is not below ``source``
            or a video with two labels, two videos would become the same member, the output was
            made with other lists or settings, or it cannot be written.
        DecodeError: if a tar that is there cannot be read.
    """
    settings = settings or Settings()
    if not lists:
        raise InputError("--shards needs --csv: lists of the videos that go into them")
    if shard_mb < 1:
        raise InputError(f"--shard-mb must be at least 1, not {shard_mb}")
    source, output = separate_folders(source, output)
    plan, lines = _plan(lists, source, separator, prefix)
    digest = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    kept = settings.as_kept() | {"shard_mb": shard_mb, "lists": digest}
    begin_or_continue(output, kept, sorted(output.glob(f"*{SUFFIX}")))
    packer = _Packer(output, plan, shard_mb * _MIB)
    waiting = packer.missing()
    jobs = {
        (str(source / one.path), str(packer.place(one)), settings): one
        for one in waiting
        if not packer.place(one).exists()
    }
    packer.advance()
    for job, result in run_jobs(resize_job, jobs, workers, timeout, "resize", progress=progress):
        if result is not None:
            packer.bad[jobs[job].name] = (str(jobs[job].path), as_text(result))
        packer.advance()
    packer.finish()
    for name, entries in lines.items():
        found = sorted((packer.where[m], m, label) for m, label in entries if m in packer.where)
        text = "".join(f"{tar}/{m}{separator}{label}\n" for (tar, _), m, label in found)
        write_if_new(output / name, text)
    write_bad(output, packer.bad.values())
    bad = len(packer.bad)
    return Summary(len(jobs) - bad, len(plan) - len(jobs), bad)


def _plan(lists, source, separator, prefix):
    """The members, list after list and shuffled in each, and ``{list: [(member, label)]}``."""
    owners, members, lines = {}, {}, {}
    for name, csv_path in zip(names_of(lists), lists, strict=True):
        stem, mine = Path(name).stem, {}
        if any(Path(other).stem == stem for other in lines):
            raise InputError(f"{csv_path}: another list is called {stem} too; rename it")
        lines[name] = []
        for video, path in listed_videos(csv_path, source, separator, prefix):
            member = path.with_name(f"{path.stem.replace('.', '_')}.mp4").as_posix()
            become(owners, path, member, source)
            first = mine.setdefault(member, video)
            if first.labels != video.labels:
                raise InputError(
                    f"{csv_path}:{video.line}: {video.name} has the label {video.written_labels} "
                    f"here and {first.written_labels} in line {first.line}; a shard holds one"
                )
            lines[name].append((member, video.written_labels))
        new = [member for member in mine if member not in members]
        for number in np.random.default_rng(0).permutation(len(new)):
            member = new[number]
            label = _label(member, mine[member])
            members[member] = _Member(owners[member], member, stem, label)
    return list(members.values()), lines


def _label(member, video):
    key = member.removesuffix(".mp4")
    if video.several is None:
        return f"{key}.cls", str(video.label)
    return f"{key}.json", json.dumps(list(video.several))


class _Packer:
    """Packs members into tars in the order of the plan, as their videos come.

    Attributes:
        where: ``{member: (name of its tar, how many before it)}`` of what is packed.
        bad: ``{member: (path, reason)}`` of what will never come.
    """

    def __init__(self, output, plan, limit):
        self._output, self._plan, self._limit = output, plan, limit
        self.where, self.bad = {}, {}
        self._counts = dict.fromkeys((one.shards for one in plan), 0)
        self._full, self._bytes = [], 0
        remove_leftovers(output)
        for folder in {self.place(one).parent for one in plan}:
            remove_leftovers(folder)
        for stem in self._counts:
            while (tar := self._tar(stem)).exists():
                # Without an index, if it was ended in between.
                members = members_of(tar) if index_path(tar).exists() else write_index(tar)
                self._note(tar, members)
                self._counts[stem] += 1
        self._left = iter(self.missing())
        self._next = next(self._left, None)

    def missing(self):
        """Members of the plan that are in no tar."""
        return [one for one in self._plan if one.name not in self.where]

    def place(self, member):
        """Where its video waits for the shard to be full."""
        return self._output / _WAITING / member.name

    def advance(self):
        """Packs as far as all videos are there or bad."""
        while self._next is not None:
            member = self._next
            if member.name not in self.bad:
                if not self.place(member).exists():
                    return
                self._take(member)
            self._next = next(self._left, None)

    def finish(self):
        """Packs the rest."""
        self._write()
        shutil.rmtree(self._output / _WAITING, ignore_errors=True)

    def _take(self, member):
        # With the headers and padding of the two.
        size = self.place(member).stat().st_size + 4 * tarfile.BLOCKSIZE
        full = self._full and self._full[0].shards != member.shards
        if full or self._bytes + size > self._limit:
            self._write()
        self._full.append(member)
        self._bytes += size

    def _write(self):
        if not self._full:
            return
        stem = self._full[0].shards
        tar = self._tar(stem)
        with atomic_path(tar, durable=True) as temporary:
            with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
                for member in self._full:
                    _add_file(archive, member.name, self.place(member))
                    _add_text(archive, *member.label)
        self._note(tar, write_index(tar))
        self._counts[stem] += 1
        for member in self._full:
            self.place(member).unlink()
        self._full, self._bytes = [], 0

    def _tar(self, stem):
        return self._output / f"{stem}-{self._counts[stem]:06d}{SUFFIX}"

    def _note(self, tar, members):
        self.where.update({name: (tar.name, place) for place, name in enumerate(members)})


def _add_file(archive, name, path):
    with open(path, "rb") as file:
        _add(archive, name, path.stat().st_size, file)


def _add_text(archive, name, text):
    data = text.encode()
    _add(archive, name, len(data), io.BytesIO(data))


def _add(archive, name, size, file):
    # Neither owner nor time: the same videos are the same tar.
    info = tarfile.TarInfo(name)
    info.size = size
    archive.addfile(info, file)
