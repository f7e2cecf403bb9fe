"""A number for every channel that a layer makes, and what is known about them."""

import numpy as np

# Labels of entries that no slimmable layer made. WHOLE: there at every width, in its place.
# FREE: a constant or a random number, of which there are as many as anybody needs.
WHOLE, FREE = 0, 1
_FIRST = 2


class Labels:
    """The labels of a network's channels, as passes at full width find them.

    Attributes:
        sources: ``{name: (first label, channels)}`` of what makes channels: layers, and
            parameters of one number a channel.
        pins: list of (labels, reason): channels that must be there at every width.
        windows: list of (labels, size): a layer reads these ``size`` at a time.
        starts: labels at which a block of channels begins, because a split does.
        cuts: the labels of every tensor that was taken apart along its channels.
        parameters: names of those sources that are parameters, not layers.
    """

    def __init__(self):
        self.sources, self.pins, self.windows = {}, [], []
        self.starts, self.parameters, self._cuts = set(), set(), {}
        self._canonical = np.array([WHOLE, FREE], np.int32)
        self._pinned = np.zeros(_FIRST, bool)

    def __len__(self):
        return len(self._canonical)

    def of(self, name, channels):
        """int32 (channels,): the labels of what ``name`` makes."""
        if name not in self.sources:
            first = len(self._canonical)
            self.sources[name] = first, channels
            new = np.arange(first, first + channels, dtype=np.int32)
            self._canonical = np.concatenate([self._canonical, new])
            self._pinned = np.concatenate([self._pinned, np.zeros(channels, bool)])
        first, channels = self.sources[name]
        return np.arange(first, first + channels, dtype=np.int32)

    def canonical(self, labels):
        """The one label that stands for all those that must be active together."""
        return self._canonical[labels]

    def unite(self, ours, theirs, why):
        """Channels met each other, one by one: they are active together."""
        a, b = self.canonical(ours), self.canonical(theirs)
        if np.array_equal(a, b):
            return
        ours_whole, theirs_whole = (a == WHOLE) & (b >= _FIRST), (b == WHOLE) & (a >= _FIRST)
        if ours_whole.any() or theirs_whole.any():
            self.pin(np.concatenate([b[ours_whole], a[theirs_whole]]), why)
        both = (a >= _FIRST) & (b >= _FIRST)
        a, b = a[both], b[both]
        new = a != b
        root = {}

        def find(label):
            path = []
            while (above := root.get(label, label)) != label:
                path.append(label)
                label = above
            for passed in path:
                root[passed] = label
            return label

        for one, other in zip(a[new].tolist(), b[new].tolist(), strict=True):
            one, other = find(one), find(other)
            if one != other:
                root[max(one, other)] = min(one, other)
        stands_for = np.arange(len(self), dtype=np.int32)
        for label in list(root):
            stands_for[label] = find(label)
        self._canonical = stands_for[self._canonical]

    def pin(self, labels, reason):
        """Channels that must be there at every width, and why."""
        labels = np.unique(labels)
        labels = labels[labels >= _FIRST]
        new = labels[~self._pinned[labels]]
        if len(new):
            self._pinned[new] = True
            self.pins.append((new, reason() if callable(reason) else reason))
        return len(new) > 0

    def cut(self, labels, pieces):
        """A tensor was split: neighbouring channels in different pieces are not in one block.

        Args:
            labels: int (n,).
            pieces: int (n,): the number of the piece that each went to.
        """
        self._cuts[labels.tobytes()] = labels
        labels = self.canonical(labels)
        order = np.lexsort((pieces, labels))
        labels, pieces = labels[order], pieces[order]
        parted = (np.diff(labels) == 1) & (np.diff(pieces) != 0) & (labels[1:] >= _FIRST)
        self.starts.update(labels[1:][parted].tolist())

    @property
    def cuts(self):
        return list(self._cuts.values())

    def window(self, labels, size):
        """A layer reads these channels ``size`` at a time."""
        self.windows.append((labels, size))

    def pinned(self):
        """Sorted canonical labels of all pinned channels."""
        return np.unique(self.canonical(np.flatnonzero(self._pinned)))

    def is_pinned(self, labels):
        """bool, as ``labels``: whether they, or one united with them, are pinned."""
        return np.isin(self.canonical(labels), self.pinned()) | (labels < _FIRST)

    def makers(self, labels):
        """Names of what makes any of ``labels``."""
        labels = labels[labels >= _FIRST]
        return [
            name
            for name, (first, count) in self.sources.items()
            if ((labels >= first) & (labels < first + count)).any()
        ]
