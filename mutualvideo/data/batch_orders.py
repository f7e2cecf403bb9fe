"""Which videos make up each batch, and in what order: keys alone, nothing is read.

In training a step's batch may have another size and other clips than the one before (multigrid):
sizes come in turn, each epoch beginning with the first.
"""

import itertools
from collections import Counter
from typing import NamedTuple

import numpy as np

from mutualvideo.data.clip_shape import ClipShape
from mutualvideo.errors import InputError


class Turn(NamedTuple):
    """One of the kinds of batches that come in turn.

    Args:
        clips: of a batch, of all processes together.
        shape: of its clips; ``None``: as the configuration says.
    """

    clips: int
    shape: ClipShape | None = None


def count_batches(num_videos, turns):
    """How many batches ``num_videos`` videos fill that come in ``turns``; the rest is left out."""
    sizes = [turn.clips for turn in turns]
    rounds, rest = divmod(num_videos, sum(sizes))
    more = sum(1 for end in itertools.accumulate(sizes) if end <= rest)
    return rounds * len(sizes) + more


class ShuffledBatches:
    """Keys (video, epoch) of one process's batches; the last incomplete batch is left out.

    Where a turn has a shape, keys are (video, epoch, shape); of a video that came in the epoch
    before, (video, epoch, shape or ``None``, how often it came).

    Args:
        num_videos: of the whole list.
        batch_size: TRAIN.BATCH_SIZE.
        seed: RNG_SEED.
        rank, world_size: which process this is, of how many.
        turns_of: function from an epoch to its ``[Turn, ...]``; ``None``: all batches alike.
    """

    def __init__(self, num_videos, batch_size, seed, rank, world_size, turns_of=None):
        if batch_size < 1:
            raise InputError(f"TRAIN.BATCH_SIZE must be at least 1, not {batch_size}")
        if batch_size % world_size:
            raise InputError(
                f"TRAIN.BATCH_SIZE {batch_size} does not divide among {world_size} process(es)"
            )
        self._turns_of = turns_of or (lambda epoch: [Turn(batch_size)])
        if num_videos < batch_size:
            raise InputError(
                f"the training list holds {num_videos} videos, fewer than TRAIN.BATCH_SIZE "
                f"{batch_size}; lower TRAIN.BATCH_SIZE"
            )
        self.epoch = self.start_step = 0
        self.is_fixed = False
        self._num_videos, self._seed = num_videos, seed
        self._rank, self._world_size = rank, world_size

    @property
    def num_batches(self):
        """Batches of the whole epoch that is set."""
        return count_batches(self._num_videos, self._turns_of(self._epoch))

    @property
    def num_videos(self):
        """Videos of all processes in that epoch."""
        turns = itertools.cycle(self._turns_of(self._epoch))
        return sum(turn.clips for turn in itertools.islice(turns, self.num_batches))

    @property
    def _epoch(self):
        return 0 if self.is_fixed else self.epoch

    def __len__(self):
        return self.num_batches - self.start_step

    def __iter__(self):
        epoch = self._epoch
        rows = self._rows(np.random.default_rng((self._seed, epoch)))
        uses = _count_uses(rows)
        turns, end = itertools.cycle(self._turns_of(epoch)), 0
        for step in range(self.num_batches):
            turn = next(turns)
            begin, end = end, end + turn.clips
            if step >= self.start_step:
                mine = slice(begin + self._rank, end, self._world_size)
                yield [
                    _key(row, epoch, turn.shape, use)
                    for row, use in zip(rows[mine], uses[mine], strict=True)
                ]

    def _rows(self, draw):
        return draw.permutation(self._num_videos).tolist()


def _count_uses(rows):
    """Of each row, how often it stands before that place."""
    seen = Counter()
    uses = []
    for row in rows:
        uses.append(seen[row])
        seen[row] += 1
    return uses


def _key(row, epoch, shape, use):
    if use:
        return row, epoch, shape, use
    return (row, epoch) if shape is None else (row, epoch, shape)


class BalancedBatches(ShuffledBatches):
    """The same, of an epoch in which every class comes equally often, give or take one.

    A class's videos come in turn: none a second time before all of them came once, and then as
    another clip.
    """

    def __init__(self, labels, *args):
        super().__init__(len(labels), *args)
        labels = np.asarray(labels)
        self._classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def _rows(self, draw):
        share, more = divmod(self._num_videos, len(self._classes))
        found = []
        for place, number in enumerate(draw.permutation(len(self._classes))):
            members, wanted = self._classes[number], share + (place < more)
            rounds = -(-wanted // len(members))
            turns = [draw.permutation(members) for _ in range(rounds)]
            found += np.concatenate([members[:0], *turns])[:wanted].tolist()
        return draw.permutation(found).tolist()


class ShardedBatches(ShuffledBatches):
    """The same, of videos in shards: large reads close together instead of small ones anywhere.

    Shards come in a random order, some at a time, and the videos of those in a random one.

    Args:
        shards: of each video, whatever tells its shard from others.
        window: shards whose videos are shuffled together (DATA.SHARD_WINDOW).
    """

    def __init__(self, shards, window, *args):
        if window < 1:
            raise InputError(f"DATA.SHARD_WINDOW must be at least 1, not {window}")
        super().__init__(len(shards), *args)
        members = {}
        for row, shard in enumerate(shards):
            members.setdefault(shard, []).append(row)
        self._members, self._window = list(members.values()), window

    def _rows(self, draw):
        order, found = draw.permutation(len(self._members)), []
        for begin in range(0, len(order), self._window):
            together = [self._members[shard] for shard in order[begin : begin + self._window]]
            found += draw.permutation(np.concatenate(together)).tolist()
        return found


class OrderedBatches:
    """Keys (video, view) in order, so that the views of a video share one opening."""

    def __init__(self, rows, num_views, batch_size):
        if batch_size < 1:
            raise InputError(f"TEST.BATCH_SIZE must be at least 1, not {batch_size}")
        self.epoch = self.start_step = 0
        self._rows, self._num_views, self._batch_size = rows, num_views, batch_size
        self.num_batches = -(-len(rows) * num_views // batch_size)

    def __len__(self):
        return self.num_batches - self.start_step

    def __iter__(self):
        total = len(self._rows) * self._num_views
        for first in range(self.start_step * self._batch_size, total, self._batch_size):
            numbers = range(first, min(first + self._batch_size, total))
            yield [(self._rows[n // self._num_views], n % self._num_views) for n in numbers]
