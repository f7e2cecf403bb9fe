"""Lists the released weights that TRAIN.CHECKPOINT_FILE_PATH takes by name, zoo:x3d_s.

mutualvideo weights

Of each the network, data set, published accuracy, licence and size. They are fetched when they are
first used, and kept.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> None:
    from mutualvideo.models.weights.zoo import describe_zoo

    print(describe_zoo())
