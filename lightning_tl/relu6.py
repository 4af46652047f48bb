"""Convolution and ReLU6 in one pass over the feature map, where the processor's library has such a pass."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_tl.plainly import plainly

CEILING = 6.0
"""Of ReLU6."""


class InnerReLU6(nn.ReLU6):
    """``nn.ReLU6`` that a convolution may have done already.

    Attributes:
        inside: the convolution before it does its work; see ``lightning_tl.folding``.
    """

    inside = False

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.ReLU6``, or nothing where the convolution before has done it.

        Not in place where a gradient is to pass, for which torch would copy what was there.
        """
        if self.inside and not plainly():
            return input
        return F.relu6(input) if torch.is_grad_enabled() and input.requires_grad else super().forward(input)


def conv2d_relu6(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """``F.relu6(F.conv2d(...))``, whose arguments these are; of an image (batch, in, height, width).

    On a CPU, and where no gradient is to pass, it is oneDNN's convolution that clips what it writes: the operator that
    ``torch.compile`` puts in place of the two. What it is worth stands in docs/benchmark.md.
    """
    if in_one_pass(x, weight):
        fused: Any = torch.ops.mkldnn._convolution_pointwise
        image = x.to(weight.dtype)
        output: Tensor = fused(image, weight, bias, padding, stride, dilation, groups, "hardtanh", [0.0, CEILING], "")
        return output
    return F.relu6(F.conv2d(x, weight, bias, stride, padding, dilation, groups), inplace=True)


def computed_in(tensor: Tensor) -> torch.dtype:
    """The type that convolutions with ``tensor`` as weights compute in here: autocast's, where it is on."""
    kind = tensor.device.type
    left_alone = kind == "meta" or tensor.dtype == torch.float64
    return tensor.dtype if left_alone or not torch.is_autocast_enabled(kind) else torch.get_autocast_dtype(kind)


def in_one_pass(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's convolution with what comes after it can be had for these two, here and now."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or weight.dtype != computed_in(weight):
        return False
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):  # the operator has no gradient
        return False
    return bool(torch.backends.mkldnn.enabled) and _offered(weight.dtype)


@cache  # it is asked for every convolution of every step
def _offered(dtype: torch.dtype) -> bool:
    """Whether this torch, as built, has the operator for ``dtype`` on this processor."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
