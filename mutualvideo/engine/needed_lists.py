"""The lists that a run will read, held against one another and against the disk beforehand."""

import logging
import random
import time

from mutualvideo.config import takes_pictures
from mutualvideo.data.loader import build_loader
from mutualvideo.errors import InputError
from mutualvideo.evaluation.continual_rows import check_continual
from mutualvideo.media import DecodeError
from mutualvideo.media.reading import open_reader
from mutualvideo.media.shards import is_there

logger = logging.getLogger(__name__)

# Videos of a list that are opened: enough to know a wrong folder, or a decoder that fails.
_OPENED = 16
# Seconds that looking for the files of a list, and that opening some, may take.
_LOOKING_S, _OPENING_S = 0.5, 0.5


def read_lists(cfg, context, clock=time.monotonic):
    """``{split: (origin, videos)}`` of what the run will read; warns of what is odd in them.

    Before a training, which reads its val and test lists late, their labels and names of classes
    are held against those of train, as many of their files are looked for as half a second allows,
    in a shuffled order, and up to 16 spread over the list are opened (headers and packets; no frame
    is decoded), for half a second at most. Pictures are not looked for. An unreadable video is a
    warning, because evaluation goes on without it; a list none of whose 16 opens is an error.

    Args:
        cfg: the configuration.
        context: this process.
        clock: seconds; for tests.

    Raises:
        InputError: naming list and line: for a list that is missing or bad, classes that are not
            those of train, videos none of which opens, or that have no rows in continual form.
    """
    found = {}
    for split in _wanted(cfg):
        try:
            found[split] = build_loader(cfg, split, context.rank, context.world_size).dataset
        except InputError as error:
            if split != "calibration":
                raise
            raise InputError(
                f"clips to train on, which the BatchNorm statistics of a table's sub-networks are "
                f"calibrated on: {error}"
            ) from error
    if "test" in found:
        check_continual(cfg, found["test"].segments)
    if cfg.TRAIN.ENABLE:
        seen = set()
        for split in ("val", "test"):
            # Without a test list of its own, that of val has been looked at.
            if split in found and found[split].origin not in seen:
                seen.add(found[split].origin)
                _compare_classes(found["train"], found[split])
                if not takes_pictures(cfg):
                    _look_for(found[split], cfg, clock)
    return {split: (dataset.origin, dataset.videos) for split, dataset in found.items()}


def _wanted(cfg):
    wanted = []
    if cfg.TRAIN.ENABLE or cfg.TEST.ENABLE:
        wanted.append("train" if cfg.TRAIN.ENABLE else "calibration")
    chooses = cfg.TEST.ENABLE and cfg.TABLE.STATISTICS == "best"
    if chooses or (cfg.TRAIN.ENABLE and cfg.TRAIN.EVAL_PERIOD):
        wanted.append("val")
    if cfg.TEST.ENABLE:
        wanted.append("test")
    return wanted


def _compare_classes(train, other):
    """Whether labels mean the same in both lists."""
    ours, theirs = train.classes, other.classes
    if ours is not None and theirs is not None and list(ours) != list(theirs):
        pairs = enumerate(zip(ours, theirs, strict=False))
        label, (a, b) = next(
            ((label, pair) for label, pair in pairs if pair[0] != pair[1]), (None, (None, None))
        )
        what = (
            f"{len(theirs)} classes, and {train.origin} has {len(ours)}"
            if label is None
            else f"class {label} is {b!r}, and {a!r} in {train.origin}"
        )
        raise InputError(f"{other.origin}: {what}; give both the same classes in the same order")
    known = {label for video in train.videos for label in video.labels}
    strange = [video for video in other.videos if not known.issuperset(video.labels)]
    if strange:
        first = strange[0]
        label = min(set(first.labels) - known)
        logger.warning(
            "%s:%d: the class %d has no video in %s, so it is never learned (%d videos of %d are "
            "of such classes); correct the label, or add videos of the class",
            other.origin,
            first.line,
            label,
            train.origin,
            len(strange),
            len(other.videos),
        )


def _look_for(dataset, cfg, clock):
    origin, videos = dataset.origin, dataset.videos
    some = videos[:: max(1, len(videos) // _OPENED)]
    if not any(is_there(video.path) for video in some):
        raise InputError(
            f"{origin}:{some[0].line}: there is no {some[0].path}, nor any of {len(some)} videos "
            "of the list; correct it, DATA.PATH_TO_DATA_DIR or DATA.PATH_PREFIX"
        )
    end = clock() + _LOOKING_S
    looked, faults = 0, {}
    for video in random.Random(0).sample(videos, len(videos)):
        looked += 1
        if not is_there(video.path):
            faults[video.line] = f"there is no {video.path}"
        if clock() > end:
            break
    end = clock() + _OPENING_S
    opened, bad = 0, {}
    for video in some[:_OPENED]:
        if video.line in faults or not is_there(video.path):
            continue
        opened += 1
        try:
            open_reader(video, cfg.DATA.DECODING_BACKEND).close()
        except DecodeError as error:
            bad[video.line] = str(error)
        if clock() > end:
            break
    if opened and len(bad) == opened:
        line, reason = min(bad.items())
        raise InputError(
            f"{origin}:{line}: {reason}; nor does any other of the {opened} videos that were tried "
            "open; correct the list, or list the bad ones with `mutualvideo check`"
        )
    faults |= bad
    if faults:
        line, reason = min(faults.items())
        account = "evaluation leaves them out (TEST.ALLOW_MISSING)"
        if not cfg.TEST.ALLOW_MISSING:
            account = "evaluation leaves them out and fails at its end, unless TEST.ALLOW_MISSING"
        logger.warning(
            "%s:%d: %s; %d such videos, of %d that were looked for and %d that were opened of %d: "
            "%s; repair the list with `mutualvideo check`",
            origin,
            line,
            reason,
            len(faults),
            looked,
            opened,
            len(videos),
            account,
        )
