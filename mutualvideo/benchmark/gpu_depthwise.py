"""Depthwise convolutions of X3D-M on a GPU, against the bandwidth of its memory."""

import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.benchmark.gpu_setup import BF16, LAST, configuration, milliseconds
from mutualvideo.models import build_model, full_subnet
from mutualvideo.slim import set_subnet, subnet_input


def depthwise(device, size):
    """X3D-M's depthwise 3x3x3 convolutions, bf16, against the bandwidth of memory."""
    bandwidth = _bandwidth(device, size)
    found = {"memory bandwidth of a copy": {"gb_per_s": bandwidth / 1e9}}
    layouts = {"default layout": torch.contiguous_format, "channels_last_3d": LAST}
    for shape, weight, stride, count in depthwise_layers(size):
        for text, layout in layouts.items():
            x = torch.randn(shape, device=device, dtype=BF16).contiguous(memory_format=layout)
            w = torch.randn(weight, device=device, dtype=BF16)
            padding = tuple(side // 2 for side in weight[2:])
            y, runs = directions(x, w, stride, padding)
            # Forward x and y; backward x, the gradient of y, and the gradient of x.
            moved = {"forward": x.nbytes + y.nbytes, "backward": 2 * x.nbytes + y.nbytes}
            name = f"depthwise {'x'.join(map(str, shape))} stride {stride[1]} {text}"
            for direction, run in runs.items():
                ms = milliseconds(run, size.seconds / 8)
                floor = 1000 * moved[direction] / bandwidth
                found[f"{name} {direction}"] = {"ms": ms, "floor_ms": floor, "ratio": ms / floor}
                if layout == torch.contiguous_format:  # as networks on a GPU run them
                    found[f"{name} {direction}"]["layers"] = count
    return found


def directions(x, w, stride, padding):
    """(output, ``{direction: what computes it}``)."""
    y = F.conv3d(x, w, None, stride, padding, groups=len(w))
    grad = torch.randn_like(y)

    def forward():
        return F.conv3d(x, w, None, stride, padding, groups=len(w))

    def backward():
        return torch.ops.aten.convolution_backward(
            grad,
            x,
            w,
            None,
            stride,
            padding,
            (1, 1, 1),
            False,
            (0, 0, 0),
            len(w),
            (True, True, False),
        )

    return y, {"forward": forward, "backward": backward}


def depthwise_layers(size):
    """(shape of the input, of the weight, stride, how often) of X3D's 3x3x3 ones in a step."""
    model = build_model(configuration("X3D-M", size))
    seen, hooks = {}, []

    def see(layer, inputs, _):
        key = tuple(inputs[0].shape[1:]), tuple(layer.weight.shape), layer.stride
        seen[key] = seen.get(key, 0) + 1

    for layer in model.modules():
        if isinstance(layer, nn.Conv3d) and layer.groups > 1 and layer.kernel_size == (3, 3, 3):
            hooks.append(layer.register_forward_hook(see))
    frames, pixels, batch = size.clips["X3D-M"]
    full = full_subnet(configuration("X3D-M", size))
    set_subnet(model.eval().to("meta"), full)
    model(subnet_input(model, torch.empty(1, 3, frames, pixels, pixels, device="meta"), full))
    for hook in hooks:
        hook.remove()
    return [((batch, *x), w, stride, count) for (x, w, stride), count in seen.items()]


def _bandwidth(device, size):
    """Bytes a second that copying reads and writes."""
    source = torch.empty(size.copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    ms = milliseconds(lambda: target.copy_(source), size.seconds / 4)
    return 2 * size.copied / (ms / 1000)
