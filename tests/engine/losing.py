"""A loader that reports some videos as ones that do not decode, as ``ClipLoader`` does."""

from mutualvideo.data.loader import build_loader


class LosingLoader:
    """The loader's batches without the clips of the videos in ``lost``: ``{row: message}``."""

    def __init__(self, loader, lost):
        self.dataset, self.bad = loader.dataset, {}
        self._loader, self._lost = loader, lost

    @property
    def position(self):
        return self._loader.position

    def __len__(self):
        return len(self._loader)

    def __iter__(self):
        for batch in self._loader:
            keep = [row not in self._lost for row in batch["video"].tolist()]
            if any(keep):
                yield {key: values[keep] for key, values in batch.items()}
        self.bad.update(self._lost)

    @classmethod
    def build(cls, lost):
        """A ``build_loader`` whose val and test loaders lose these videos."""

        def build(cfg, split, *shards):
            loader = build_loader(cfg, split, *shards)
            return cls(loader, lost) if split in ("val", "test") else loader

        return build
