"""Trains a network with mutual learning, then calibrates and evaluates its sub-networks.

SIGTERM, ^C and TRAIN.TIME_LIMIT end training with a checkpoint; the same command continues.

mutualvideo train path/to/videos
mutualvideo train --cfg configs/Kinetics/X3D_M_mutual.yaml \\
    DATA.PATH_TO_DATA_DIR /data/kinetics OUTPUT_DIR output/x3d_m
torchrun --nproc_per_node=8 -m mutualvideo train --cfg ...

The first takes a folder that holds a folder of videos for each class, and by default the
configuration Own/X3D_S_finetune; it says what it chooses for these videos and this machine, and
where the run lies: output/videos.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fvcore.common.config import CfgNode

# Of one's own videos, unless another is given.
OWN = "Own/X3D_S_finetune"
CFG_HELP = "YAML file, see configs/, or the name of one of these: Kinetics/X3D_M_mutual"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cfg", help=CFG_HELP)
    add("--opts", nargs="+", default=[], metavar="KEY VALUE", help="overrides")
    add("--print-config", action="store_true", help="print every key, and where it comes from")
    add("--dry-run", action="store_true", help="say what a run would be, and write nothing")
    text = "a folder of your own videos, if there is one, and overrides"
    add("overrides", nargs="*", metavar="[FOLDER] KEY VALUE", help=text)


def run(args: argparse.Namespace) -> None:
    from mutualvideo.commands.running import run_net
    from mutualvideo.config import format_cfg, in_pairs, trace_run
    from mutualvideo.errors import InputError

    bare = list(args.overrides)
    if bare and _is_folder(bare[0], args.cfg is None or len(bare) % 2 == 1):
        overrides = in_pairs(args.opts) + in_pairs(bare[1:])
        cfg, origins = _of_folder(bare[0], args.cfg, overrides, not args.print_config)
    elif args.cfg is None:
        in_pairs(bare)
        raise InputError("give --cfg, or a folder that holds a folder of videos for each class")
    else:
        cfg, origins = trace_run(args.cfg, in_pairs(args.opts) + in_pairs(bare))
    if args.print_config:
        return print(format_cfg(cfg, origins), end="")
    return run_net(cfg, args.dry_run)


def _is_folder(text: str, may_be_missing: bool) -> bool:
    """Whether the first argument is the videos' folder, which may be misspelt, not a key."""
    looks_like_a_key = re.fullmatch("[A-Z0-9_.]+", text.partition("=")[0]) is not None
    return os.path.isdir(text) or may_be_missing and not looks_like_a_key


def _of_folder(
    folder: str, config: str | None, overrides: list[str], aloud: bool
) -> tuple[CfgNode, dict[str, str]]:
    """The configuration of a training on one's own videos, and who gave each value.

    Says what it chose, and why, if ``aloud``.
    """
    import torch

    from mutualvideo.commands.own_videos import own_run
    from mutualvideo.config import trace_run

    device = "cuda" if torch.cuda.is_available() else "cpu"
    cfg, chosen = own_run(folder, config or OWN, overrides, device)
    for choice in chosen if aloud else ():
        print(choice)
    _, origins = trace_run(config or OWN, ["DATA.PATH_TO_DATA_DIR", folder, *overrides])
    return cfg, {**origins, **{choice.key: choice.why for choice in chosen}}
