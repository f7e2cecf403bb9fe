"""X3D (arXiv 2004.04730), from PyTorchVideo's factory."""

from pytorchvideo.models.x3d import create_x3d
from torch import nn

from mutualvideo.models.model_registry import MODEL_REGISTRY, require_arch, reset_final_norms


@MODEL_REGISTRY.register()
def X3D(cfg):
    """X3D-XS, S, M, L or any other of the family, by the X3D keys.

    Two things differ from the released module and change no number: the head pools
    adaptively, so that every size and frame count runs, and the activation is torch's own
    SiLU. It returns logits.
    """
    require_arch(cfg, "x3d")
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
    return network, {}
