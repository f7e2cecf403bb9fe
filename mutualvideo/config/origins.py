"""A configuration as a YAML file that says where each value comes from."""

from collections.abc import Mapping

from fvcore.common.config import CfgNode
from yaml import safe_dump

_DEFAULT = "default"
_DERIVED = {"MODEL.ARCH": "from MODEL.MODEL_NAME"}


def format_cfg(cfg: CfgNode, origins: Mapping[str, str]) -> str:
    """Every key of ``cfg`` with its value, as YAML, and behind it who gave it.

    Args:
        cfg: the configuration.
        origins: of :func:`~mutualvideo.config.trace_cfg`.

    Returns:
        Text that :func:`~mutualvideo.config.load_cfg` reads, if it is written to a file.
    """
    lines = []
    for key, value in cfg.items():
        if not isinstance(value, CfgNode):
            lines.append((_line(key, value), origins.get(key, _DEFAULT)))
            continue
        lines.append((f"{key}:", ""))
        for leaf, inner in value.items():
            origin = origins.get(f"{key}.{leaf}", _DERIVED.get(f"{key}.{leaf}", _DEFAULT))
            lines.append((f"  {_line(leaf, inner)}", origin))
    width = max(len(text) for text, origin in lines if origin)
    return "".join(
        f"{text:{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in lines
    )


def _line(key: str, value: object) -> str:
    # A scalar alone would end with a line of dots.
    text = safe_dump([value], default_flow_style=True, width=10**6).strip()
    return f"{key}: {text[1:-1]}"
