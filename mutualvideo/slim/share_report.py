"""What of a slimmable network follows the width, and what does not, and why."""

from dataclasses import dataclass

from mutualvideo.errors import InputError
from mutualvideo.slim.convert import slim_state


@dataclass(frozen=True)
class SlimmableReport:
    """What :func:`slimmable_report` found; prints as a few lines.

    Attributes:
        share: of the full network's multiply-adds (convolutions and linear layers), those of
            layers whose input or output becomes narrower, 0 to 1.
        kept: ``{layer: reason}`` of layers of which some outputs are there at every width.
        whole: ``{module: reason}`` of modules that are left as they are.
    """

    share: float
    kept: dict
    whole: dict

    def __str__(self):
        lines = [
            f"{self.share:.0%} of the multiply-adds follow the width: those of layers that read or "
            "make fewer channels"
        ]
        titles = ("keeps channels", "keep channels"), ("is left whole", "are left whole")
        for title, layers in zip(titles, (self.kept, self.whole), strict=True):
            by_reason = {}
            for name, reason in layers.items():
                by_reason.setdefault(reason, []).append(name)
            for reason, names in by_reason.items():
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                lines.append(f"{', '.join(names[:3])}{more} {title[len(names) > 1]}: {reason}")
        return "\n".join(lines)


def slimmable_report(model):
    """Which layers of a slimmable network keep their channels at every width, and why.

    Args:
        model: a slimmable network.

    Returns:
        :class:`SlimmableReport`.

    Raises:
        InputError: if the network is not slimmable, or was read from a pickle.
    """
    plan = slim_state(model).plan
    if plan is None:
        raise InputError(
            "slimmable_report(): how this network's channels flow is not known: call it where "
            "slimmable() was called"
        )
    return SlimmableReport(plan.share, dict(plan.kept), dict(plan.whole_modules))
