"""What of a run depends on what is learnt: classes of clips, or objects in pictures."""

from abc import ABC, abstractmethod


class Task(ABC):
    """The parts that the training loop, the dry run and the preflight ask for.

    Loop, schedule, optimiser, precision, moving average, checkpoints and signals are the same for
    all tasks.
    """

    @abstractmethod
    def check(self, cfg):
        """Raises InputError, naming the key, for what this task does not do."""

    @abstractmethod
    def settle(self, cfg):
        """``cfg`` with MODEL.NUM_CLASSES as many as the training data have, where that is 0."""

    @abstractmethod
    def lists(self, cfg, context):
        """Looks at the lists that a run will read; ``{split: (origin, videos)}``, which may be
        empty. Raises InputError for what would end the run."""

    @abstractmethod
    def val_list(self, cfg, context):
        """What tells the list that is validated on from another: a string."""

    @abstractmethod
    def loader(self, cfg, split, context, turns=None):
        """The :class:`~mutualvideo.data.loader.ClipLoader` of a split for this process."""

    @abstractmethod
    def inputs(self, cfg):
        """What makes a batch ready: a callable of (batch, device, size=None) that returns
        (inputs, targets), whose length is the number of examples, with a ``label_smoothing``."""

    @abstractmethod
    def noise(self, cfg, shape, device):
        """(inputs, targets) of random pixels; ``shape``: (B, 3, ...)."""

    @abstractmethod
    def class_weights(self, cfg, dataset):
        """float32 (classes,) for the loss on the labels, or ``None``."""

    @abstractmethod
    def load(self, model, path):
        """Loads the weights that a run starts from, all or nothing."""

    @abstractmethod
    def order(self, model, along):
        """Puts important channels first, ``along`` as :func:`~mutualvideo.order_channels` takes it;
        returns how many sets of them were sorted."""

    @abstractmethod
    def step(self, cfg):
        """:func:`~mutualvideo.mutual.mutual_step`, or what takes the same and does as much."""

    @abstractmethod
    def costs(self, cfg, model, subnets):
        """``{subnet: Costs}`` of one example in training."""

    @abstractmethod
    def validate(self, cfg, context, model, subnets):
        """Calibrates ``subnets`` and scores them on the val list.

        Returns:
            ``{subnet: (merit in percent, {key of a json_stats line: value}, {name of a scalar:
            value})}``, in every process.
        """
