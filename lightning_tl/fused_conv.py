"""A folded convolution on a GPU, whose bias and ReLU6 are one pass, none at all where it is depthwise.

torch adds the bias in a pass of its own, clips in another, and copies the image to pad it as TensorFlow does. Those
took more than half of the device's time in a training step of MobileNetV2 (batches of 256, an NVIDIA H200).
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from lightning_tl.cuda_graph import is_unseen, waiting
from lightning_tl.relu6 import computed_in

TYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Of numbers that are added up in float32 here, as torch does on a GPU."""
CLOSE = 8
"""How far from exact results up to six the kernels may be, in units of the type's rounding at one ..."""
SUMS = 1e-5
"""... and by float32's sums of ten numbers up to ten."""
LARGEST = 7
"""Pixels a side of a depthwise kernel: each is written out, and of 11 by 11 the compiler makes 16 s."""
_works: dict[tuple[torch.device, torch.dtype], bool] = {}


def offered(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution of ``x`` with ``weight`` can be computed here: on CUDA, channels last, without gradient."""
    if not is_unseen(x) or weight.device != x.device or any(map(_is_no_memory, (x, weight))):
        return False
    if weight.dtype not in TYPES or weight.dtype != computed_in(weight) or x.dim() != 4 or 0 in x.shape:
        return False
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):  # the kernels have no gradient
        return False
    is_last = _is_last(x) or (min(weight.shape[1], weight.shape[2] * weight.shape[3]) > 1 and _is_last(weight))
    return is_last and works_on(x.device, weight.dtype)


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
        x: (batch, in, height, width).
        weight: (out, in / groups, height, width) of the kernel.
        bias: (out,).
        stride: down and across, in pixels.
        sides: zeros around the image: left, right, top, bottom.
        dilation: down and across, in pixels.
        groups: as of ``F.conv2d``.
        rectified: whether ReLU6 follows.

    Returns:
        (batch, out, height, width) of the type of ``weight``, channels last in memory.
    """
    x = x.to(weight.dtype).contiguous(memory_format=torch.channels_last)
    left, right, top, bottom = sides
    padded = (x.shape[2] + top + bottom, x.shape[3] + left + right)
    fits = all(kernel <= min(LARGEST, image) for kernel, image in zip(weight.shape[2:], padded, strict=True))
    try:
        from lightning_tl import triton_kernels  # here, where it has been found to work

        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]  # where Triton starts kernels
            if groups == x.shape[1] == weight.shape[0] and tuple(dilation) == (1, 1) and fits:
                return triton_kernels.depthwise(x, weight, bias, stride, sides, rectified)
            y = _convolved(x, weight, None, stride, sides, dilation, groups)
            y = y.contiguous(memory_format=torch.channels_last)  # as it comes out of most
            return triton_kernels.add_bias_(y, bias, rectified)
    except RuntimeError:  # torch's own, of shapes or memory
        raise
    except Exception as error:  # of a kernel that was not yet compiled: no room for it on the disk, for one
        _give_up(x.device, weight.dtype, _told(error))
    y = _convolved(x, weight, bias.to(weight.dtype), stride, sides, dilation, groups)
    return F.relu6(y, inplace=True) if rectified else y


def _convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, sides: Any, dilation: Any, groups: int
) -> Tensor:
    """By torch, which pads both sides alike; other images are copied."""
    left, right, top, bottom = sides
    if (left, top) == (right, bottom):
        return F.conv2d(x, weight, bias, tuple(stride), (top, left), tuple(dilation), groups)
    return F.conv2d(F.pad(x, sides), weight, bias, tuple(stride), 0, tuple(dilation), groups)


def arranged(weight: Tensor, groups: int) -> Tensor:
    """A kernel as the kernels read it: one of a depthwise convolution with its channels last, on CUDA."""
    if not weight.is_cuda or not groups == weight.shape[0] > 1 or weight.dtype not in TYPES:
        return weight
    return channels_last(weight) if works_on(weight.device, weight.dtype) else weight


def channels_last(weight: Tensor) -> Tensor:
    """A depthwise kernel, (channels, 1, height, width), with its channels last in memory."""
    return weight.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)


def _is_last(tensor: Tensor) -> bool:
    """Whether its channels are last in memory, as those of one pixel, and a single one, are in any case."""
    return tensor.is_contiguous(memory_format=torch.channels_last)


def _is_no_memory(tensor: Tensor) -> bool:
    """Whether it only stands for numbers, or for other tensors that have them."""
    return isinstance(tensor, FakeTensor) or is_traceable_wrapper_subclass(tensor)


def works_on(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether Triton is there and computes what torch does; where it does not, a warning says why, once for a type."""
    if (device, dtype) in _works:
        return _works[device, dtype]
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():  # it would break that off
        return False
    try:
        difference = _difference(device, dtype)
    except torch.OutOfMemoryError:  # there may be room another time
        return False
    except Exception as error:  # no Triton, no compiler for what starts its kernels, no such GPU: whatever it is
        return _give_up(device, dtype, _told(error))
    if not difference <= CLOSE * torch.finfo(dtype).eps + SUMS:
        return _give_up(device, dtype, f"its results are {difference:.2g} off")
    _works[device, dtype] = True
    return True


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _give_up(device: torch.device, dtype: torch.dtype, why: str) -> bool:
    """Have torch compute from now on, and say so; False."""
    _works[device, dtype] = False
    name = str(dtype).removeprefix("torch.")
    warnings.warn(
        f"Triton does not work here for {name} ({why}): biases and ReLU6 of frozen convolutions are passes of their "
        "own, which is slower. It comes with torch for Linux and needs a C compiler, such as gcc, and a folder that it "
        "can write to (TRITON_CACHE_DIR).",
        stacklevel=3,
    )
    return False


def _difference(device: torch.device, dtype: torch.dtype) -> float:
    """Largest difference of both kernels from exact results, on small feature maps with uneven borders."""
    from lightning_tl import triton_kernels

    generator = torch.Generator().manual_seed(0)
    found = [0.0]
    for channels in (24, 64):
        shapes = [(2, channels, 6, 5), (channels, 1, 3, 3), (channels,)]
        with waiting(), torch.inference_mode(False), torch.no_grad():
            x, weight, bias = (torch.randn(*shape, generator=generator, device="cpu").to(device) for shape in shapes)
            x = x.mul_(3).to(dtype).contiguous(memory_format=torch.channels_last)  # of which ReLU6 clips some
            weight, sides = channels_last(weight.to(dtype)), (1, 2, 2, 2)
            padded = F.pad(x.double(), sides)
            with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
                got = triton_kernels.depthwise(x, weight, bias, (2, 2), sides, rectified=True)
                sums = triton_kernels.add_bias_(x.clone(), bias, rectified=True)
            exact = F.relu6(F.conv2d(padded, weight.double(), bias.double(), 2, groups=channels))
            added = F.relu6(x.double() + bias.double().view(-1, 1, 1))
            found += [float((got - exact).abs().max()), float((sums - added).abs().max())]
    return max(found)
