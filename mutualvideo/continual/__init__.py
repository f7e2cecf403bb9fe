"""Continual recognition: a stream's every frame is computed once (CoX3D, arXiv 2106.00050).

The building blocks are our own rather than those of the package ``continual-inference`` (1.2.4),
whose behaviour this follows, for these reasons: its layers copy the weights, so a network could
not be switched in width or share its parameters with the clip-wise form; a layer keeps its state
in itself, with one count for the whole batch, so that streams cannot be started, sliced and saved
one by one; it keeps partial sums of outputs, through three-dimensional convolutions, which on a
CPU take several times as long as pictures; its layers skip steps by ``if``, which no exported
graph can; and it has no squeeze-excitation over a running window.
"""

import mutualvideo.quiet_fvcore  # noqa: F401
from mutualvideo.continual.continual_network import ContinualNetwork
from mutualvideo.continual.frame_stream import FrameAnswer, FrameStream
from mutualvideo.continual.stream_statistics import calibrate_streams

__all__ = ["ContinualNetwork", "FrameAnswer", "FrameStream", "calibrate_streams"]
