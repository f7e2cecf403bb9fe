"""Imports fvcore's networks, without what torch says of it. Before any other import of them."""

import warnings

with warnings.catch_warnings():
    # fvcore scripts two losses while it is imported; nobody here uses them.
    warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
    import fvcore.nn  # noqa: F401
