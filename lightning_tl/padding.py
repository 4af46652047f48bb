"""TensorFlow's "same" padding without a padded copy of the image, which costs more than the convolution itself."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, as timm's ``Conv2dSame``, computed as ``same_conv2d`` does.

    Its own ``padding`` is not looked at.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, in, height, width) to (batch, out, height / stride, width / stride), both rounded up."""
        return same_conv2d(x, self.weight, self.bias, self.stride, self.dilation, self.groups)  # type: ignore[arg-type]


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
    larger number then reads the very same pixels. What that is worth on a CPU stands in docs/benchmark.md. For
    other convolutions the image is padded, since with a kernel of all channels the zeros would be work, and so it is
    on other devices, where this was not measured; for frozen layers on a GPU see ``fused_conv``. In the layout of
    ``blocked`` nothing can be padded.

    Args:
        x: images, (batch, in, height, width).
        weight: (out, in / groups, height, width) of the kernel.
        stride: down and across, in pixels.
        dilation: likewise.
    """
    cheap = weight.shape[1] == 1 or x.is_mkldnn
    elsewhere = x.device.type != "cpu" or torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]  # whose sizes are tensors
    down, across = same_padding(x, weight, stride, dilation)
    if not cheap or dilation != (1, 1) or elsewhere:
        return pad_copy(x, down, across), weight, (0, 0)
    if down % 2 or across % 2:
        weight = F.pad(weight, (across % 2, 0, down % 2, 0))
    return x, weight, (down // 2 + down % 2, across // 2 + across % 2)


def pad_copy(x: Tensor, down: int, across: int) -> Tensor:
    """Images with so many rows and columns of zeros more, of which the odd one is at the bottom and right."""
    return F.pad(x, both_sides(down, across))


def both_sides(down: int, across: int) -> tuple[int, int, int, int]:
    """So many rows and columns of zeros as ``F.pad`` takes them: left, right, top, bottom."""
    return (across // 2, across - across // 2, down // 2, down - down // 2)


def same_padding(x: Tensor, weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """Pixels that TensorFlow's "same" padding adds to the height and to the width of ``x``, both sides together.

    So many that a kernel at each ``stride``-th pixel has all of its own; arguments as of ``same_padded``.
    """
    sizes = zip(x.shape[-2:], weight.shape[-2:], stride, dilation, strict=True)
    down, across = (_more(*of_axis) for of_axis in sizes)
    return down, across


def _more(size: Any, kernel: int, stride: int, dilation: int) -> Any:
    """Pixels along one axis; a tensor, as ``size`` is one, where a module is traced."""
    more = (size + stride - 1) // stride * stride - stride + (kernel - 1) * dilation + 1 - size
    return more.clamp(min=0) if isinstance(more, Tensor) else max(more, 0)
