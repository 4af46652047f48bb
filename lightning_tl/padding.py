"""TensorFlow's "same" padding without a padded copy of the image, which costs more than the convolution itself."""

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.layers.padding import get_same_padding, pad_same
from torch import Tensor, nn


class SameConv2d(Conv2dSame):  # type: ignore[misc]  # timm ships no types
    """timm's ``Conv2dSame``, computed as ``same_conv2d`` does."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``Conv2dSame``: images (batch, in, height, width) to (batch, out, ceil(h / stride), ceil(w / stride))."""
        return same_conv2d(x, self.weight, self.bias, self.stride, self.dilation, self.groups)


def same_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """``F.conv2d``, whose arguments these are, with TensorFlow's padding; see ``same_padded``.

    From (batch, in, height, width) to (batch, out, height / stride, width / stride), both rounded up.
    """
    x, weight, padding = same_padded(x, weight, stride, dilation)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def same_padded(
    x: Tensor, weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Image, kernel and padding of a convolution of torch's that computes what TensorFlow's "same" padding gives.

    That pads one pixel more at the bottom and right where the sum of both sides is odd; torch pads both sides alike.
    A depthwise kernel with one more row of zeros at its top starts one pixel earlier, so padding both sides by the
    larger number then reads the very same pixels. What that is worth on a CPU stands in docs/epyc/benchmark.md. For
    other convolutions the image is padded, since with a kernel of all channels the zeros would be work, and so it is
    on other devices, where this was not measured. In the layout of ``blocked`` nothing can be padded.

    Args:
        x: images, (batch, in, height, width).
        weight: (out, in / groups, height, width) of the kernel.
        stride: down and across, in pixels.
        dilation: likewise.
    """
    cheap = weight.shape[1] == 1 or x.is_mkldnn
    elsewhere = x.device.type != "cpu" or torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]  # whose sizes are tensors
    if not cheap or dilation != (1, 1) or elsewhere:
        return pad_same(x, weight.shape[-2:], stride, dilation), weight, (0, 0)
    sums = [get_same_padding(x.shape[-2 + axis], weight.shape[-2 + axis], stride[axis], 1) for axis in (0, 1)]
    down, across = (total % 2 for total in sums)
    if down or across:
        weight = F.pad(weight, (across, 0, down, 0))
    return x, weight, (sums[0] // 2 + down, sums[1] // 2 + across)


def pad_without_copies(net: nn.Module) -> None:
    """Turn every ``Conv2dSame`` of ``net`` into a ``SameConv2d``, in place; tensors and names stay."""
    for module in net.modules():
        if type(module) is Conv2dSame:
            module.__class__ = SameConv2d
