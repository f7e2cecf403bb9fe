"""Frames a second that a core gives a training: of original videos, resized ones and shards."""

import statistics
import tarfile
import tempfile
import time
from pathlib import Path

from mutualvideo.benchmark.decoding import write_clip
from mutualvideo.benchmark.resized import write_film
from mutualvideo.config import load_cfg
from mutualvideo.data.loader import build_loader
from mutualvideo.data.prepare.resize_shards import resize_to_shards

_CLIPS = 8  # of an epoch, one batch, all of the same video


def load(repeats=9, sources=None):
    """Training clips through the loader in one process, by processor time.

    Clips as X3D-M gets them: 16 frames, rate 5, a short side of 256 to 320 pixels, squares of 224,
    from random places, the same for all of original, resized file and shard. The originals are
    generated films of 10 s, 340x256 and 1280x720, as x264 encodes them by default, or the files
    ``sources``, ``{name: path}``.
    """
    with tempfile.TemporaryDirectory() as folder:
        if sources is None:
            films = Path(folder) / "films"
            films.mkdir()
            write_clip(films / "340x256.mp4")
            write_film(films / "1280x720.mp4")
            sources = {f"10 s of {path.stem}": path for path in sorted(films.iterdir())[::-1]}
        found = {}
        for number, (name, path) in enumerate(sources.items()):
            found |= _compare(name, Path(path), Path(folder) / str(number), repeats)
        return found


def _compare(name, source, folder, repeats):
    loaders = _loaders(source, folder)
    seconds = {kind: [] for kind in loaders}
    for epoch in range(repeats + 1):
        for kind, loader in loaders.items():
            loader.set_epoch(epoch)
            begin = time.process_time()
            frames = sum(batch["clip"].shape[0] * batch["clip"].shape[2] for batch in loader)
            if epoch:  # the first one opens what stays open
                seconds[kind].append(time.process_time() - begin)
    speeds = {kind: frames / statistics.median(times) for kind, times in seconds.items()}
    return {
        f"{name}: {ours} / {theirs}": {
            "ratio": round(speeds[theirs] / speeds[ours], 4),
            "ours_frames_per_s": round(speeds[ours], 1),
            "theirs_frames_per_s": round(speeds[theirs], 1),
        }
        for ours, theirs in (("resized file", "original"), ("shard", "resized file"))
    }


def _loaders(source, folder):
    """The same video as it is, resized, and as the member of a shard, to the bit."""
    original, files, shards = (folder / name for name in ("original", "files", "shards"))
    original.mkdir(parents=True)
    _write_list(original, source)
    resize_to_shards(source.parent, shards, [original / "train.csv"], workers=1, progress=False)
    (tar,) = shards.glob("*.tar")
    with tarfile.open(tar) as archive:
        # Before Python 3.11.4 extractall() takes no filter.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(files)
    (member,) = files.glob("*.mp4")
    _write_list(files, member)
    loaders = {}
    kinds = {"original": original, "resized file": files, "shard": shards}
    for kind, place in kinds.items():
        settings = {
            "DATA.PATH_TO_DATA_DIR": place,
            "DATA.SAMPLER": "shards" if kind == "shard" else "random",
            "DATA_LOADER.NUM_WORKERS": 0,
            "TRAIN.BATCH_SIZE": _CLIPS,
            "MODEL.NUM_CLASSES": 2,
        }
        cfg = load_cfg(None, [str(item) for pair in settings.items() for item in pair])
        loaders[kind] = build_loader(cfg, "train")
    return loaders


def _write_list(folder, video):
    (folder / "train.csv").write_text(f"{video} 0\n" * _CLIPS)
