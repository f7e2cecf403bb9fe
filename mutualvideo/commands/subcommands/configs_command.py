"""Lists the configurations that --cfg takes by name, with a line each.

mutualvideo configs
mutualvideo configs X3D finetune    those whose name or line has all of these words
mutualvideo configs --path Kinetics/X3D_M_mutual
"""

from __future__ import annotations

import argparse

from mutualvideo.config.named_files import find_config, named_configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", metavar="NAME", help="print where the file of this one lies")
    parser.add_argument("words", nargs="*", metavar="WORD", help="list those with these alone")


def run(args: argparse.Namespace) -> int | None:
    if args.path is not None:
        return print(find_config(args.path))
    found = {
        name: about
        for name, about in named_configs().items()
        if all(word.lower() in f"{name} {about}".lower() for word in args.words)
    }
    width = max(map(len, found), default=0)
    for name, about in found.items():
        print(f"{name:<{width}}  {about}")
    return None if found else 1
