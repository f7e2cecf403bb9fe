"""Names of networks and their architectures, as PySlowFast pairs them."""

# MODEL.MODEL_NAME: the values of MODEL.ARCH that it takes.
ARCHS = {
    "X3D": ("x3d",),
    "ResNet": ("slow", "c2d", "i3d", "slow_c2d", "slow_i3d"),
    "SlowFast": ("slowfast",),
    "MobileNetV1": ("2d",),
    "MobileNetV2": ("2d",),
    "ImageResNet": ("2d",),
    "WideResNet": ("2d",),
}


def name_of(arch):
    """The one MODEL.MODEL_NAME that has this MODEL.ARCH; ``None`` where none or several have."""
    names = [name for name, archs in ARCHS.items() if arch in archs]
    return names[0] if len(names) == 1 else None


def arch_of(name):
    """The one MODEL.ARCH of a MODEL.MODEL_NAME; ``None`` where there is none or a choice."""
    archs = ARCHS.get(name, ())
    return archs[0] if len(archs) == 1 else None
