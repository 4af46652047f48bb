"""Feature maps in oneDNN's own memory layout, in which its convolutions on a CPU are fastest.

oneDNN keeps 8 or 16 channels of a pixel together and then the next pixel's ("blocked", nChw16c): a vector register
holds them whatever the number of channels. torch has it as an opaque kind of tensor, ``Tensor.to_mkldnn``, that
convolutions and additions take and give. What that is worth stands in docs/benchmark.md.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_tl.relu6 import CEILING


def to_blocked(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x``, (batch, channels, height, width) on the CPU, for ``conv2d_blocked``, in ``dtype``, float32 or bfloat16.

    Without gradient.
    """
    return x if x.is_mkldnn else x.detach().to(dtype).contiguous().to_mkldnn()


def to_plain(x: Tensor) -> Tensor:
    """``x`` as any layer takes it, same shape and type, channels last in memory as out of other convolutions."""
    return x.to_dense().contiguous(memory_format=torch.channels_last) if x.is_mkldnn else x


def conv2d_blocked(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    rectified: bool,
) -> Tensor:
    """``F.conv2d`` of a feature map from ``to_blocked``, in that layout again.

    Args:
        x: of ``weight``'s type, (batch, in, height, width).
        weight: not in that layout, (out, in / groups, height, width) of the kernel.
        bias: (out,).
        stride: as of ``F.conv2d``.
        padding: likewise.
        dilation: likewise.
        groups: likewise.
        rectified: whether ReLU6 follows in the same pass.
    """
    operator: Any = torch.ops.mkldnn._convolution_pointwise
    after = ("hardtanh", [0.0, CEILING]) if rectified else ("none", [])
    output: Tensor = operator(x, weight.contiguous(), bias, padding, stride, dilation, groups, *after, "")
    return output
