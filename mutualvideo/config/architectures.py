"""Names of networks by their architectures, as PySlowFast pairs them."""

from mutualvideo.registry import NETWORKS


def names_of(arch: str) -> list[str]:
    """Every MODEL.MODEL_NAME that takes this MODEL.ARCH."""
    return [name for name, about in NETWORKS.all().items() if arch in about.archs]


def name_of(arch: str) -> str | None:
    """The one MODEL.MODEL_NAME that takes this MODEL.ARCH; ``None`` where none or several do."""
    names = names_of(arch)
    return names[0] if len(names) == 1 else None


def arch_of(name: str) -> str:
    """MODEL.ARCH of a MODEL.MODEL_NAME that stands alone; empty where there is none."""
    about = NETWORKS.all().get(name)
    return next(iter(about.archs), "") if about else ""
