"""A folded convolution on a GPU, whose bias and ReLU6 are one pass, none at all where it is depthwise.

torch adds the bias in a pass of its own, clips in another, and copies the image to pad it as TensorFlow does. Those
took more than half of the device's time in a training step of MobileNetV2 (batches of 256, an NVIDIA H200).
"""

import warnings
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_tl.cuda_graph import waiting
from lightning_tl.relu6 import computed_in

TYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Of numbers that are added up in float32 here, as torch does on a GPU."""
CLOSE = 50
"""How far the kernels may be from the exact result, which is up to six, in units of the type's rounding at one."""


def offered(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution of ``x`` with ``weight`` can be computed here: on CUDA, channels last, without gradient."""
    if not x.is_cuda or weight.device != x.device or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
        return False
    if weight.dtype not in TYPES or weight.dtype != computed_in(weight) or x.dim() != 4 or 0 in x.shape:
        return False
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):  # the kernels have no gradient
        return False
    return (_is_last(x) or (weight.shape[2] * weight.shape[3] > 1 and _is_last(weight))) and works_on(
        x.device, weight.dtype
    )


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    sides: tuple[int, int, int, int],
    dilation: Sequence[int],
    groups: int,
    rectified: bool,
) -> Tensor:
    """``F.conv2d``, and ReLU6 after it where it is rectified. Ask ``offered`` before.

    Args:
        x: (batch, in, height, width), channels last in memory.
        weight: (out, in / groups, height, width) of the kernel.
        bias: (out,).
        stride: down and across, in pixels.
        sides: zeros around the image: left, right, top, bottom.
        dilation: down and across, in pixels.
        groups: as of ``F.conv2d``.
        rectified: whether ReLU6 follows.
    """
    from lightning_tl import triton_kernels  # here, where it has been found to work

    x = x.to(weight.dtype, memory_format=torch.channels_last)
    if groups == x.shape[1] == weight.shape[0] and tuple(dilation) == (1, 1):
        return triton_kernels.depthwise(x, weight, bias, stride, sides, rectified)
    left, right, top, bottom = sides
    if (left, top) == (right, bottom):
        y = F.conv2d(x, weight, None, tuple(stride), (top, left), tuple(dilation), groups)
    else:
        y = F.conv2d(F.pad(x, sides), weight, None, tuple(stride), 0, tuple(dilation), groups)
    y = y.contiguous(memory_format=torch.channels_last)  # as it comes out of most
    return triton_kernels.add_bias_(y, bias, rectified)


def arranged(weight: Tensor) -> Tensor:
    """The kernel of a depthwise convolution with its channels last in memory, which threads side by side read."""
    return weight.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)


def _is_last(tensor: Tensor) -> bool:
    """Whether its channels are last in memory, as those of a kernel of one pixel are in any case."""
    return tensor.is_contiguous(memory_format=torch.channels_last)


@cache
def works_on(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether Triton is there and computes what torch does; where it does not, a warning says why, once for a type."""
    try:
        difference = _difference(device, dtype)
    except Exception as error:  # no Triton, no compiler for what starts its kernels, no such GPU: whatever it is
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    else:
        if difference <= CLOSE * torch.finfo(dtype).eps:
            return True
        why = f"its results are {difference:.2g} off"
    name = str(dtype).removeprefix("torch.")
    warnings.warn(
        f"Triton does not work here for {name} ({why}): biases and ReLU6 of frozen convolutions are passes of their "
        "own, which is slower. It comes with torch for Linux and needs a C compiler, such as gcc.",
        stacklevel=2,
    )
    return False


def _difference(device: torch.device, dtype: torch.dtype) -> float:
    """Largest difference of both kernels from exact results, on a small feature map with an uneven border."""
    from lightning_tl import triton_kernels

    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 24, 6, 5), (24, 1, 3, 3), (24,)]
    with waiting(), torch.inference_mode(False), torch.no_grad(), torch.cuda.device(device):
        x, weight, bias = (torch.rand(*shape, generator=generator, device="cpu").to(device, dtype) for shape in shapes)
        x = x.mul_(5).contiguous(memory_format=torch.channels_last)  # of which ReLU6 clips some
        got = triton_kernels.depthwise(x, weight, bias, (2, 2), (0, 1, 0, 1), rectified=True)
        wanted = F.relu6(F.conv2d(F.pad(x.double(), (0, 1, 0, 1)), weight.double(), bias.double(), 2, groups=24))
        sums = triton_kernels.add_bias_(x.clone(), bias, rectified=False) - (x.double() + bias.view(-1, 1, 1))
        return max(float((got - wanted).abs().max()), float(sums.abs().max()))
