"""Many sub-networks on one clip, with as little work besides them as there can be."""

from mutualvideo.slim.convert import set_subnet
from mutualvideo.slim.resampling import input_shape, resample_nest


def each_subnet(model, clip, subnets):
    """Switches ``model`` to each of ``subnets`` in turn; run it before asking for the next.

    Sub-networks of one input shape come together, whatever their place among ``subnets``, and
    share their input: it is made once, and only one is held at a time.

    Args:
        model: a slimmable network.
        clip: full-size float (B, C, T, H, W) or (B, C, H, W), on the model's device, or a nest of
            tensors as :func:`~mutualvideo.slim.subnet_input` takes it.
        subnets: which sub-networks.

    Yields:
        (subnet, its input), see :func:`~mutualvideo.slim.subnet_input`.

    Raises:
        InputError: if the network cannot run one of them, or the clip has too few frames.
    """
    by_shape = {}
    for subnet in subnets:
        by_shape.setdefault(input_shape(model, subnet), []).append(subnet)
    for shape, members in by_shape.items():
        x = resample_nest(clip, *shape)
        for subnet in members:
            set_subnet(model, subnet)
            yield subnet, x
