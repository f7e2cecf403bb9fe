"""How far a run is: what a checkpoint holds beside weights."""

from dataclasses import asdict, dataclass, field, fields

from mutualvideo.errors import InputError, shown
from mutualvideo.run.distributed import gather_to_main


@dataclass
class Progress:
    """Whole epochs and steps done, and what adds up within an epoch.

    Nothing else needs to be remembered: data order, augmentation, dropout and the draw of
    sub-networks are functions of the seed, the epoch and the step.

    Args:
        epoch: whole epochs done.
        step: steps done since, skipped ones included.
        loss: sum over clips of the full network's loss since then.
        correct, clips: clips that it got right, and all; those of skipped steps do not count.
        skipped: steps that were skipped.
        replaced: ``{row: message}`` of unreadable videos.
        skipped_before: steps that were skipped in the epochs before.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    clips: int = 0
    skipped: int = 0
    replaced: dict = field(default_factory=dict)
    skipped_before: int = 0

    @property
    def all_skipped(self):
        """Steps that were skipped since the very beginning."""
        return self.skipped_before + self.skipped

    def of_whole_epochs(self):
        """As it was when the last whole epoch was done."""
        return Progress(self.epoch, skipped_before=self.skipped_before)

    @classmethod
    def from_dict(cls, values, origin):
        """Of what a checkpoint holds; ``origin`` names it.

        Raises:
            InputError: if it is something else.
        """
        kinds = {one.name: one.type for one in fields(cls)}
        if isinstance(values, dict):  # checkpoints may be older than this field
            values = {"skipped_before": 0, **values}
        if not isinstance(values, dict) or values.keys() != kinds.keys():
            raise InputError(f"{origin}: its progress is {shown(values)}, not that of a run")
        for name, value in values.items():
            if type(value) is not kinds[name] or (kinds[name] is int and value < 0):
                raise InputError(f"{origin}: its progress has {name} {shown(value)}")
        return cls(**values)

    def add(self, clips, loss, correct):
        """Counts a step of this process: mean ``loss`` of ``clips``, of which ``correct``."""
        self.step += 1
        self.loss += loss * clips
        self.correct += correct
        self.clips += clips

    def skip(self):
        """Counts a step that changed nothing."""
        self.step += 1
        self.skipped += 1

    def gathered(self):
        """Of all processes together: in the main one a new ``Progress``, ``None`` in the others.

        Steps, also skipped ones, are those of any process, the same in all.
        """
        found = gather_to_main(asdict(self))
        if found is None:
            return None
        whole = self._counts()
        for one in found:
            whole.loss += one["loss"]
            whole.correct += one["correct"]
            whole.clips += one["clips"]
            whole.replaced |= one["replaced"]
        return whole

    def share_of(self, rank):
        """What process ``rank`` goes on with: the sums are the main one's, once."""
        return self if rank == 0 else self._counts()

    def _counts(self):
        """What is the same in all processes."""
        return Progress(
            self.epoch, self.step, skipped=self.skipped, skipped_before=self.skipped_before
        )
