"""How residual branches begin, in networks of PyTorchVideo's."""

from torch import nn


def reset_final_norms(network: nn.Module) -> None:
    """Starts the last BatchNorm of every residual branch at 1 instead of PyTorchVideo's 0."""
    for module in network.modules():
        if getattr(module, "block_final_bn", False):
            nn.init.ones_(module.weight)  # type: ignore[arg-type]
