"""Affine resampling of a batch, each image by a matrix of its own, with Keras' rules at the border."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

FillMode = Literal["reflect", "constant", "nearest", "wrap"]

FILL_MODES = ("reflect", "constant", "nearest", "wrap")
INTERPOLATIONS = ("bilinear", "nearest")

_PADDING = {"reflect": "reflection", "constant": "zeros", "nearest": "border", "wrap": "border"}
"""grid_sample's name for each fill mode; wrap is brought inside the image first."""


def resample(
    images: Tensor,
    matrix: Tensor,
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    interpolation: str = "bilinear",
    precise: bool = False,
) -> Tensor:
    """Read every output pixel at the place in the input that the matrix says.

    The fill modes are those of Keras' ``affine_transform``: ``reflect`` repeats the border pixel,
    ``constant`` blends with ``fill_value`` within one pixel outside the border, ``wrap`` has the period of
    the image's size.

    Args:
        images: float32 or float64, shape (batch, channels, height, width).
        matrix: maps pixel coordinates (x, y, 1) of the output to those of the input, shape (batch, 3, 3).
        fill_mode: reflect, constant, nearest or wrap: what lies outside the image.
        fill_value: of ``constant``, in the units of the images.
        interpolation: bilinear or nearest.
        precise: sample float32 images in float64, at the float32 coordinates that Keras uses. grid_sample
            takes coordinates as fractions of the size, and their way there and back costs float32 images of
            160 pixels 5e-6 of a pixel, up to 5e-3 on [0, 255]; float64 makes it nothing, in three times the
            time. No effect where the device has no float64 (MPS).

    Returns:
        Images of the same shape and type.
    """
    height, width = images.shape[-2:]
    matrix = matrix.to(images.dtype)
    if not precise and fill_mode != "wrap":
        grid = _apply(_to_fractions(matrix, height, width), height, width)
        return _sample(images, grid, fill_mode, fill_value, interpolation)
    exact = images.double() if precise and images.device.type != "mps" else images
    coordinates = _coordinates(matrix, height, width).to(exact.dtype)
    if fill_mode == "wrap":
        # differs: Keras on tensorflow does not interpolate between the last column and the first, and reads
        # wrong pixels from twice the size on; torch and jax, and we, take the image as periodic.
        coordinates = torch.remainder(coordinates, _size(coordinates, height, width))
        exact = F.pad(exact, (0, 1, 0, 1), mode="circular")
    size = _size(coordinates, *exact.shape[-2:])
    grid = coordinates.sub_(0.5 * (size - 1.0)).mul_(2.0 / size)  # in place: the time goes into new memory
    return _sample(exact, grid, fill_mode, fill_value, interpolation).to(images.dtype)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The product outer · inner of matrices (batch, 3, 3).

    Written without matmul, which autocast and TF32 would round to ten bits.
    """
    return (outer[:, :, :, None] * inner[:, None, :, :]).sum(dim=2)


def _coordinates(matrix: Tensor, height: int, width: int) -> Tensor:
    """Pixel coordinates in the input of every output pixel, shape (batch, height, width, 2).

    The products are added before the offset, as Keras does: in float32 the order shows in the picture.
    """
    offset = matrix[:, None, None, :2, 2]
    linear = torch.cat((matrix[..., :2], torch.zeros_like(matrix[..., 2:])), dim=-1)
    return _apply(linear, height, width).add_(offset)


def _apply(matrix: Tensor, height: int, width: int) -> Tensor:
    """The first two rows of the matrix times every pixel (x, y, 1): shape (batch, height, width, 2).

    In memory all x come before all y, so that both are computed, and read by grid_sample, many at a time.
    """
    x = torch.arange(width, dtype=matrix.dtype, device=matrix.device)
    y = torch.arange(height, dtype=matrix.dtype, device=matrix.device)
    along_x = matrix[:, :2, :1] * x  # (batch, 2, width)
    along_y = matrix[:, :2, 1:2] * y + matrix[:, :2, 2:]  # (batch, 2, height)
    return (along_x[:, :, None, :] + along_y[:, :, :, None]).permute(0, 2, 3, 1)


def _to_fractions(matrix: Tensor, height: int, width: int) -> Tensor:
    """Rows that give grid_sample's coordinates instead of pixels: -1 and 1 are the image's outer edges."""
    size = _size(matrix, height, width)
    rows = matrix[:, :2] * (2.0 / size)[:, None]
    return torch.cat((rows[..., :2], rows[..., 2:] + (1.0 / size - 1.0)[:, None]), dim=-1)


def _size(like: Tensor, height: int, width: int) -> Tensor:
    size = like.new_full((2,), width)
    size[1:].fill_(height)  # where it lies: ``size[1] = height`` copies a number from the host, which waits for a GPU
    return size


def _sample(images: Tensor, grid: Tensor, fill_mode: str, fill_value: float, interpolation: str) -> Tensor:
    """grid_sample with a fill value; images and grid of one type."""
    shift = fill_value if fill_mode == "constant" else 0.0
    images = images - shift if shift else images  # grid_sample fills with zero alone
    sampled = F.grid_sample(images, grid, interpolation, _PADDING[fill_mode], align_corners=False)
    return sampled + shift if shift else sampled
