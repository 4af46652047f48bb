"""Two kernels for GPUs, in Triton: what comes after a convolution in one pass, and depthwise convolution with it.

Feature maps are channels last: a pixel's channels lie side by side, and its place is all that a kernel asks of it.
Only who has asked ``fused_conv.offered`` imports this: Triton is not everywhere.
"""

# ruff: noqa: ANN001, ANN202, N803  # Triton reads annotations, and takes none but its own; its constants are upper case

from collections.abc import Sequence

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from lightning_tl import relu6

CEILING = tl.constexpr(relu6.CEILING)
ELEMENTS = 1024
"""Of a feature map for each program, 8 for each of its 128 threads. On an H200 (MobileNetV2's layers, 160 pixels) the
depthwise ones took 1 to 6 % longer with twice as many, and up to 43 % with four times as many; and with 16 channels in
the place of 32 or 64 a pass of biases took up to twice as long."""


@triton.jit  # type: ignore[untyped-decorator]
def _relu6(value, RECTIFIED: tl.constexpr):  # type: ignore[no-untyped-def]
    if RECTIFIED:  # comparisons, which let NaN through
        value = tl.where(value < 0.0, 0.0, tl.where(value > CEILING, CEILING, value))
    return value


@triton.jit(do_not_specialize=["pixels"])  # type: ignore[untyped-decorator]
def _add_bias(  # type: ignore[no-untyped-def]
    feature_map,
    bias,
    pixels,
    channels,
    RECTIFIED: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_one = channel < channels
    mask = (pixel < pixels)[:, None] & is_one[None, :]
    at = feature_map + pixel.to(tl.int64)[:, None] * channels + channel[None, :]
    shift = tl.load(bias + channel, mask=is_one, other=0.0).to(tl.float32)
    value = tl.load(at, mask=mask, other=0.0).to(tl.float32) + shift[None, :]
    tl.store(at, _relu6(value, RECTIFIED).to(feature_map.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["pixels", "height", "width", "out_height", "out_width", "top", "left"])  # type: ignore[untyped-decorator]
def _depthwise(  # type: ignore[no-untyped-def]
    feature_map,
    taps,
    bias,
    output,
    pixels,
    channels,
    height,
    width,
    out_height,
    out_width,
    top,
    left,
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
    STRIDE_DOWN: tl.constexpr,
    STRIDE_ACROSS: tl.constexpr,
    RECTIFIED: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_pixel, is_one = pixel < pixels, channel < channels
    line = pixel // out_width
    row = (line % out_height) * STRIDE_DOWN - top
    column = (pixel % out_width) * STRIDE_ACROSS - left
    first = ((line // out_height) * height + row) * width + column  # the kernel's first pixel, perhaps outside
    total = tl.full((PIXELS, CHANNELS), 0.0, tl.float32)
    for down in tl.static_range(DOWN):
        for across in tl.static_range(ACROSS):
            inside = (row + down >= 0) & (row + down < height) & (column + across >= 0) & (column + across < width)
            mask = (inside & is_pixel)[:, None] & is_one[None, :]
            at = feature_map + (first + down * width + across).to(tl.int64)[:, None] * channels + channel[None, :]
            factor = tl.load(taps + (down * ACROSS + across) * channels + channel, mask=is_one, other=0.0)
            total += tl.load(at, mask=mask, other=0.0).to(tl.float32) * factor.to(tl.float32)[None, :]
    total += tl.load(bias + channel, mask=is_one, other=0.0).to(tl.float32)[None, :]
    at = output + pixel.to(tl.int64)[:, None] * channels + channel[None, :]
    mask = is_pixel[:, None] & is_one[None, :]
    tl.store(at, _relu6(total, RECTIFIED).to(output.dtype.element_ty), mask=mask)


def add_bias_(feature_map: Tensor, bias: Tensor, rectified: bool) -> Tensor:
    """Add ``bias`` to each channel, in place, and clip to [0, 6] where it is rectified; the sum is in float32.

    Args:
        feature_map: (batch, channels, height, width), channels last in memory, which gets the result.
        bias: (channels,).
        rectified: whether ReLU6 follows.
    """
    batch, channels, height, width = feature_map.shape
    grid, tile = _tiles(batch * height * width, channels)
    _add_bias[grid](feature_map, bias, batch * height * width, channels, rectified, *tile, enable_fp_fusion=True)
    return feature_map


def depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    sides: tuple[int, int, int, int],
    rectified: bool,
) -> Tensor:
    """A convolution of each channel by itself, with bias and, where it is rectified, ReLU6; sums are in float32.

    Args:
        x: (batch, channels, height, width), channels last in memory.
        weight: (channels, 1, height, width) of the kernel; see ``fused_conv.channels_last``.
        bias: (channels,).
        stride: down and across, in pixels.
        sides: zeros around the image: left, right, top, bottom.
        rectified: whether ReLU6 follows.

    Returns:
        (batch, channels, height, width), channels last, of the type of ``x``.
    """
    batch, channels, height, width = x.shape
    kernel = (weight.shape[2], weight.shape[3])
    left, right, top, bottom = sides
    out_height = (height + top + bottom - kernel[0]) // stride[0] + 1
    out_width = (width + left + right - kernel[1]) // stride[1] + 1
    shape, pixels = (batch, channels, out_height, out_width), batch * out_height * out_width
    output = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    grid, tile = _tiles(pixels, channels)
    of_x = (pixels, channels, height, width, out_height, out_width, top, left)
    taps = weight.permute(2, 3, 1, 0).contiguous()
    _depthwise[grid](x, taps, bias, output, *of_x, *kernel, *stride, rectified, *tile, enable_fp_fusion=True)
    return output


def _tiles(pixels: int, channels: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Programs, and what each computes: pixels and channels of a feature map."""
    across = 64 if channels % 64 == 0 else 32
    down = ELEMENTS // across
    return (triton.cdiv(pixels, down), triton.cdiv(channels, across)), (down, across)
