"""What a file of PySlowFast's, or an override in its terms, means here; or why it is refused."""

import logging

from mutualvideo.config.foreign_keys import (
    ABSENT,
    FREE,
    HEAD_OF_SEVERAL,
    ONLY,
    ORDER,
    REFUSED,
    RENAMED,
    RENAMED_VALUES,
)
from mutualvideo.config.text_values import plain
from mutualvideo.errors import InputError, shown
from mutualvideo.registry import NETWORKS

logger = logging.getLogger(__name__)

# {key: (value, origin)}
_Given = dict[str, tuple[object, str]]
# Reasons that one message gives.
_NAMED = 3
_PTV = "PTV"
# Blocks of the stages of the ResNets that PySlowFast knows.
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def is_theirs(key: str) -> bool:
    """Whether ``key`` is one that PySlowFast's files have and this project's do not."""
    return key in FREE or key in ONLY


def translate(given: _Given, is_foreign: bool) -> _Given:
    """Keys and values of PySlowFast's as this project's.

    Args:
        given: ``{key: (value, origin)}`` of all that was given; of a key that was given twice, the
            last. Values as read; ``origin`` is the file, or the command line, for messages.
        is_foreign: whether the keys that it does not have mean what they mean to PySlowFast.

    Returns:
        The same of this project's keys, in order; others are unknown ones.

    Raises:
        InputError: naming keys whose values decide that something is computed that is not offered.
    """
    translation = _Translation(given, is_foreign)
    found = translation.run()
    translation.tell()
    return found


class _Translation:
    def __init__(self, given, is_foreign):
        self.given, self.is_foreign = given, is_foreign
        self.free, self.so_anyway, self.taken, self.refused = [], [], [], {}

    def run(self):
        found = {}
        for key, (value, origin) in self.given.items():
            value = self._renamed(key, value)
            if key in FREE:
                self.free.append(key)
            elif key in ONLY:
                several = self._value("DATA.MULTI_LABEL") is True and key == "MODEL.HEAD_ACT"
                self._judge(key, value, HEAD_OF_SEVERAL if several else ONLY[key])
            elif self._says_what_is_so(key, value):
                self.so_anyway.append(key)
            elif key in RENAMED:
                found[RENAMED[key]] = value, origin
            else:
                reason = REFUSED.get(key, {}).get(_hashable(plain(value)))
                if reason:
                    self.refused[key] = reason
                found[key] = value, origin
        self._judge_together()
        if self.refused:
            raise InputError(self._refusal())
        self._complete(found)
        return found

    def tell(self):
        """One warning about what was not taken as it stands."""
        parts = [
            f"{what}: {', '.join(keys)}"
            for what, keys in (
                ("that change nothing here", self.free),
                ("whose values hold here anyway", self.so_anyway),
                ("that were translated", self.taken),
            )
            if keys
        ]
        if parts:
            logger.warning("PySlowFast keys %s", "; ".join(parts))

    def _value(self, key, default=None):
        return plain(self.given[key][0]) if key in self.given else default

    def _renamed(self, key, value):
        names = RENAMED_VALUES.get(key, {})
        new = names.get(_hashable(plain(value)), value)
        if new is not value:
            self.taken.append(f"{key} {plain(value)} ({new})")
        return new

    def _judge(self, key, value, rule):
        allowed, reason = rule
        if plain(value) is None or any(_same(plain(value), one) for one in allowed):
            self.so_anyway.append(key)
        else:
            self.refused[key] = reason

    def _says_what_is_so(self, key, value):
        """Whether a key that is one here too has a value that means: as always."""
        value = plain(value)
        if value == []:
            return False  # of a file of this project's
        if key in ("NONLOCAL.LOCATION", "NONLOCAL.POOL") and isinstance(value, list):
            # Pooling where there is nothing to pool.
            return _is_empty(self._value("NONLOCAL.LOCATION", []))
        if key == "RESNET.NUM_BLOCK_TEMP_KERNEL" and isinstance(value, list):
            name = str(self._value("MODEL.MODEL_NAME", "SlowFast"))
            if name in ("PTVResNet", "X3D", "PTVX3D") or self._value("MODEL.ARCH") == "2d":
                return True  # those do not read it
            blocks = _BLOCKS.get(self._value("RESNET.DEPTH", 50))
            counts = [[count] for count in blocks or ()]
            return counts != [] and value in (counts, [one * 2 for one in counts])
        return False

    def _judge_together(self):
        """Values that mean something only beside another one."""
        name = str(self._value("MODEL.MODEL_NAME", ""))
        transform = self._value("RESNET.TRANS_FUNC")
        is_x3d = name in ("X3D", "PTVX3D") or self._value("MODEL.ARCH") == "x3d"
        wanted = "x3d_transform" if is_x3d else "bottleneck_transform"
        if transform == wanted:
            self.so_anyway.append("RESNET.TRANS_FUNC")
        elif transform is not None:
            self.refused["RESNET.TRANS_FUNC"] = f"the blocks of this network are {wanted}"
        if name.startswith(_PTV) and not _is_empty(self._value("NONLOCAL.LOCATION", [])):
            self.refused["NONLOCAL.LOCATION"] = f"{name} has no non-local blocks; it is empty there"
        if self._value("BN.NORM_TYPE") == "sync_batchnorm":
            self._judge_sync()
        self._judge_multigrid()
        shards = self._value("NUM_SHARDS", 1)
        if isinstance(shards, int) and shards > 1:
            clips = self._value("TRAIN.BATCH_SIZE", 64)
            self.refused["NUM_SHARDS"] = (
                f"each of so many machines takes TRAIN.BATCH_SIZE {shown(clips)} clips a step "
                "there, and here it is of all together: multiply it, and leave NUM_SHARDS out"
            )
        sampling = self._value("AUG.INTERPOLATION")
        if sampling is None and self.is_foreign and self._value("AUG.ENABLE", False) is True:
            self.refused["AUG.ENABLE"] = (
                "augmented pictures are sampled bilinearly, and where AUG.INTERPOLATION is not "
                "named bicubically there: add AUG.INTERPOLATION bilinear"
            )
        if sampling is not None:
            if self._value("AUG.ENABLE", False) is True and sampling != "bilinear":
                self.refused["AUG.INTERPOLATION"] = "augmented pictures are sampled bilinearly"
            else:
                self.so_anyway.append("AUG.INTERPOLATION")

    def _judge_multigrid(self):
        gamma = self._value("SOLVER.GAMMA")
        if gamma is None:
            return
        if self._value("MULTIGRID.LONG_CYCLE", False) is True and gamma != 0.1:
            self.refused["SOLVER.GAMMA"] = (
                "rates of a long cycle's stages are those of SOLVER.LRS here: write them there"
            )
        else:
            self.free.append("SOLVER.GAMMA")  # nothing else reads it there

    def _judge_sync(self):
        if self._value("MULTIGRID.LONG_CYCLE", False) is True:
            return  # MULTIGRID.BN_BASE_SIZE decides there too
        devices = self._value("BN.NUM_SYNC_DEVICES")
        everywhere = self._value("NUM_GPUS", 1) * self._value("NUM_SHARDS", 1)
        if devices in (None, everywhere) or self._value("BN.GLOBAL_SYNC") is True:
            return
        self.refused["BN.NUM_SYNC_DEVICES"] = (
            f"statistics are those of all processes together ({everywhere} in this file), not of "
            "groups of them"
        )

    def _refusal(self):
        places = [*ORDER, *ONLY]
        known = {key: place for place, key in reversed([*enumerate(places)])}
        keys = sorted(self.refused, key=lambda key: (known.get(key, len(places)), key))
        by_reason = {}
        for key in keys:
            text = f"{key} {shown(self._value(key))}"
            by_reason.setdefault(self.refused[key], []).append(text)
        parts = [f"{', '.join(texts)}: {reason}" for reason, texts in by_reason.items()]
        more = f"; and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
        return f"{self.given[keys[0]][1]}: {'; '.join(parts[:_NAMED])}{more}"

    def _complete(self, found):
        """What a file that does not name a network means, and what PySlowFast's means by it."""
        for key in _TOGETHER:
            found.pop(key, None)
        name = plain(found["MODEL.MODEL_NAME"][0]) if "MODEL.MODEL_NAME" in found else None
        arch = plain(found["MODEL.ARCH"][0]) if "MODEL.ARCH" in found else None
        origin = next((origin for _, origin in found.values()), "command line")
        if name == "ResNet" and arch == "2d":
            # There a ResNet without kernels in time; here networks of pictures have their own.
            self._add(found, "MODEL.MODEL_NAME", "ImageResNet", origin)
        elif name is None and arch is None and self.is_foreign:
            self._add(found, "MODEL.MODEL_NAME", "SlowFast", origin)
            self._add(found, "MODEL.ARCH", "slowfast", origin)
        elif name is None and arch and (only := _name_of(arch)):
            self._add(found, "MODEL.MODEL_NAME", only, origin)
        if not self.is_foreign:
            return
        for key, value in ABSENT.items():
            if key not in found and (key[:3] != "X3D" or name == "X3D"):
                self._add(found, key, value, origin)
        if self._value("AUG.ENABLE", False) is True and "AUG.AA_TYPE" not in found:
            self._add(found, "AUG.AA_TYPE", "rand-m9-mstd0.5-inc1", origin)
        if self._value("TRAIN.MIXED_PRECISION") is True and "TRAIN.PRECISION" not in found:
            self._add(found, "TRAIN.PRECISION", "float16", origin)
        deep = self._value("RESNET.DEPTH") == 101 and name == "ResNet" and arch != "2d"
        if deep and "RESNET.NUM_BLOCK_TEMP_KERNEL" not in self.given:
            if self._value("MODEL.MODEL_NAME") != "PTVResNet":
                self._add(found, "RESNET.NUM_BLOCK_TEMP_KERNEL", [[3], [4], [6], [3]], origin)

    def _add(self, found, key, value, origin):
        found[key] = value, origin
        self.taken.append(f"{key} {value}")


# Keys that were judged beside others and are none here.
_TOGETHER = (
    *("RESNET.TRANS_FUNC", "AUG.INTERPOLATION", "BN.NUM_SYNC_DEVICES", "BN.GLOBAL_SYNC"),
    "SOLVER.GAMMA",
)
FOREIGN = {*FREE, *ONLY, *_TOGETHER, *RENAMED}


def _name_of(arch):
    """The one network that has this MODEL.ARCH; ``None`` where none or several have."""
    names = [name for name, about in NETWORKS.all().items() if arch in about.archs]
    return names[0] if len(names) == 1 else None


def _hashable(value):
    return value if isinstance(value, (str, int, float, type(None))) else None


def _same(value, allowed):
    """Equal, and True is not 1."""
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(allowed, tuple):
        allowed = list(allowed)
    return value == allowed and isinstance(value, bool) == isinstance(allowed, bool)


def _is_empty(location, depth=3):
    """Whether lists of lists hold nothing but lists."""
    if not isinstance(location, (list, tuple)) or not depth:
        return False
    return all(_is_empty(one, depth - 1) for one in location)
