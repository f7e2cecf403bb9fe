"""X3D (arXiv 2004.04730), from PyTorchVideo's factory."""

from fvcore.common.config import CfgNode
from pytorchvideo.models.resnet import ResBlock
from pytorchvideo.models.x3d import create_x3d
from torch import nn

from mutualvideo.models.final_norms import reset_final_norms
from mutualvideo.models.model_registry import MODEL_REGISTRY
from mutualvideo.models.network import Network
from mutualvideo.models.weights.pyslowfast_names import PYSLOWFAST


@MODEL_REGISTRY.register()
class X3D(Network):
    """X3D-XS, S, M, L or any other of the family, by the X3D keys.

    Two things differ from the released module and change no number: the head pools
    adaptively, so that every size and frame count runs, and the activation is torch's own
    SiLU. It returns logits.
    """

    name = "X3D"
    archs = ("x3d",)
    keys = {
        "X3D.WIDTH_FACTOR": (0.01, 100),
        "X3D.DEPTH_FACTOR": (0.01, 20),
        "X3D.BOTTLENECK_FACTOR": (0.01, 100),
        "X3D.DIM_C5": (1, 100_000),
        "X3D.DIM_C1": (1, 10_000),
    }
    blocks = (ResBlock,)
    formats = (PYSLOWFAST,)
    # Of X3D-M with ten views a video on Kinetics-400, read off the figure of MutualNet (arXiv
    # 2105.07085) to 0.05 GMACs and 0.03 points.
    curves = {
        "x3d": ("MutualNet, X3D-M", [
            (4.73, 75.08), (3.85, 74.93), (2.96, 74.20), (1.78, 72.69), (1.22, 71.71),
            (0.99, 70.91), (0.73, 70.14), (0.59, 69.33), (0.51, 68.0), (0.41, 67.3), (0.35, 66.15),
        ]),
        "x3d-separate": ("X3D, trained separately", [(4.73, 73.7), (1.96, 71.4), (0.60, 66.0)]),
    }  # fmt: skip

    def build(self, cfg: CfgNode) -> nn.Module:
        network = create_x3d(
            input_clip_length=cfg.DATA.NUM_FRAMES,
            input_crop_size=cfg.DATA.TRAIN_CROP_SIZE,
            model_num_class=cfg.MODEL.NUM_CLASSES,
            dropout_rate=cfg.MODEL.DROPOUT_RATE,
            width_factor=cfg.X3D.WIDTH_FACTOR,
            depth_factor=cfg.X3D.DEPTH_FACTOR,
            stem_dim_in=cfg.X3D.DIM_C1,
            bottleneck_factor=cfg.X3D.BOTTLENECK_FACTOR,
            head_dim_out=cfg.X3D.DIM_C5,
            inner_act=nn.SiLU,
            head_activation=None,
        )
        network.blocks[-1].pool.pool = nn.AdaptiveAvgPool3d(1)
        if not cfg.RESNET.ZERO_INIT_FINAL_BN:
            reset_final_norms(network)
        return network
