"""Resampling against a plain loop over pixels."""

import itertools
import math

import pytest
import torch
from pictures import noise
from torch import Tensor

from lightning_tl.augment.resample import FILL_MODES, compose, resample

TURN = math.radians(25.0)
MATRICES = torch.tensor(
    [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[1.0, 0.0, -2.0], [0.0, 1.0, 3.0], [0.0, 0.0, 1.0]],
        [[1.0, 0.0, 30.4], [0.0, 1.0, -41.3], [0.0, 0.0, 1.0]],  # several sizes away
        [[math.cos(TURN), -math.sin(TURN), 1.3], [math.sin(TURN), math.cos(TURN), -4.2], [0.0, 0.0, 1.0]],
        [[2.3, 0.0, -5.1], [0.0, 0.4, 2.2], [0.0, 0.0, 1.0]],
    ],
    dtype=torch.float64,
)


def inside(position: int, size: int, fill_mode: str) -> int | None:
    """The pixel that stands for this position, None for the fill value."""
    if 0 <= position < size:
        return position
    if fill_mode == "constant":
        return None
    if fill_mode == "nearest":
        return min(max(position, 0), size - 1)
    if fill_mode == "wrap":
        return position % size
    folded = position % (2 * size)  # d c b a | a b c d | d c b a
    return folded if folded < size else 2 * size - 1 - folded


def read(channel: Tensor, x: float, y: float, fill_mode: str, fill_value: float) -> float:
    """Bilinear reading at one place."""
    left, top, total = math.floor(x), math.floor(y), 0.0
    for dx, dy in itertools.product((0, 1), (0, 1)):
        column = inside(left + dx, channel.shape[1], fill_mode)
        row = inside(top + dy, channel.shape[0], fill_mode)
        value = fill_value if column is None or row is None else float(channel[row, column])
        total += value * abs(1 - dx - (x - left)) * abs(1 - dy - (y - top))
    return total


def looped(images: Tensor, matrix: Tensor, fill_mode: str, fill_value: float) -> Tensor:
    result = torch.empty_like(images)
    for n, c, y, x in itertools.product(*(range(size) for size in images.shape)):
        column, row, _ = (matrix[n] @ torch.tensor([x, y, 1.0], dtype=matrix.dtype)).tolist()
        result[n, c, y, x] = read(images[n, c], column, row, fill_mode, fill_value)
    return result


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("size", [(7, 8), (8, 5)])
def test_equals_a_loop_over_pixels(fill_mode: str, size: tuple[int, int]) -> None:
    images = noise(5, *size)[:, :1].double()
    expected = looped(images, MATRICES, fill_mode, 70.0)
    torch.testing.assert_close(resample(images, MATRICES, fill_mode, 70.0), expected, rtol=0, atol=1e-9)
    precise = resample(images.float(), MATRICES.float(), fill_mode, 70.0, precise=True)
    torch.testing.assert_close(precise.double(), expected, rtol=0, atol=2e-3)  # float32 coordinates


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("precise", [True, False])
def test_the_identity_changes_nothing(fill_mode: str, interpolation: str, precise: bool) -> None:
    images = noise(2, 9, 12).float()
    identity = torch.eye(3).expand(2, 3, 3)
    result = resample(images, identity, fill_mode, 9.0, interpolation, precise)
    torch.testing.assert_close(result, images, rtol=0, atol=1e-5 if precise else 1e-3)


@pytest.mark.parametrize("fill_mode", FILL_MODES)
def test_nearest_reads_the_nearest_pixel(fill_mode: str) -> None:
    images = noise(1, 6, 6).double()
    shift = torch.tensor([[[1.0, 0.0, 2.4], [0.0, 1.0, -0.3], [0.0, 0.0, 1.0]]], dtype=torch.float64)
    whole = shift.round()
    torch.testing.assert_close(
        resample(images, shift, fill_mode, 5.0, "nearest"),
        resample(images, whole, fill_mode, 5.0, "bilinear"),
    )


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("precise", [True, False])
def test_autocast_and_compile_change_nothing(fill_mode: str, precise: bool) -> None:
    images, matrix = noise(5, 9, 8).float(), MATRICES.float()
    expected = resample(images, matrix, fill_mode, 3.0, precise=precise)
    with torch.autocast("cpu", torch.bfloat16):
        cast = resample(images, matrix, fill_mode, 3.0, precise=precise)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, expected)
    compiled = torch.compile(resample, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images, matrix, fill_mode, 3.0, precise=precise), expected)


@pytest.mark.parametrize("precise", [True, False])
def test_memory_layout_changes_nothing(precise: bool) -> None:
    images, matrix = noise(5, 9, 8).float(), MATRICES.float()
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(resample(images, matrix, precise=precise), resample(channels_last, matrix, precise=precise))


def test_compose_is_the_matrix_product_under_autocast_too() -> None:
    first, second = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = (first.double() @ second.double()).float()
    with torch.autocast("cpu", torch.bfloat16):
        product = compose(first, second)
    torch.testing.assert_close(product, expected, rtol=0, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("fill_mode", FILL_MODES)
def test_the_gpu_agrees(fill_mode: str) -> None:
    images, matrix = noise(5, 33, 32).float(), MATRICES.float()
    here = resample(images, matrix, fill_mode, 3.0, precise=True)
    there = resample(images.cuda(), matrix.cuda(), fill_mode, 3.0, precise=True).cpu()
    torch.testing.assert_close(there, here, rtol=0, atol=2e-3)  # products are fused with sums there
