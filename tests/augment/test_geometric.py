"""Flip, rotation, zoom and translation: what they draw, what their matrices mean, what they refuse."""

import math
from collections.abc import Callable

import pytest
import torch
from pictures import noise, waves
from torch import Tensor

from lightning_tl.augment import (
    Augmentation,
    Geometric,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from lightning_tl.augment.resample import resample
from lightning_tl.errors import InputError


def spread(count: int = 20_000, draws: int = 2) -> Tensor:
    return torch.rand(count, draws, generator=torch.Generator().manual_seed(0))


def is_uniform(values: Tensor, lower: float, upper: float) -> bool:
    """Kolmogorov-Smirnov at the 1e-3 level, and nothing outside the range."""
    ranks = ((values.double().sort().values - lower) / (upper - lower)).clamp(-1, 2)
    distance = (ranks - torch.linspace(0, 1, len(values), dtype=torch.float64)).abs().max()
    return bool(values.min() >= lower and values.max() <= upper and distance < 1.95 / len(values) ** 0.5)


@pytest.mark.parametrize(
    ("transform", "name", "lower", "upper"),
    [
        (RandomRotation(0.1), "angle", -36.0, 36.0),
        (RandomRotation(-0.1), "angle", -36.0, 36.0),
        (RandomRotation((0.5, 0.25)), "angle", 90.0, 180.0),
        (RandomZoom(0.1), "height_zoom", 0.9, 1.1),
        (RandomZoom((-0.3, -0.1)), "width_zoom", 0.7, 0.9),
        (RandomZoom(0.1, (0.0, 0.5)), "width_zoom", 1.0, 1.5),
        (RandomTranslation(0.2, (-0.3, 0.5)), "height_shift", -0.2, 0.2),
        (RandomTranslation(0.2, [-0.3, 0.5]), "width_shift", -0.3, 0.5),
    ],
)
def test_draws_fill_their_range(transform: Augmentation, name: str, lower: float, upper: float) -> None:
    values = transform.draw(spread())[name]
    assert values.shape == (20_000,)
    assert is_uniform(values, lower - 1e-5, upper + 1e-5)


def test_flip_turns_at_one_half() -> None:
    flips = RandomFlip().draw(torch.tensor([[0.0], [0.5], [0.5 + 2**-24], [0.9]]))["flips"]
    assert flips.tolist() == [True, True, False, False]


def test_zoom_without_width_keeps_the_aspect_ratio() -> None:
    params = RandomZoom(0.3).draw(spread())
    assert torch.equal(params["height_zoom"], params["width_zoom"])
    free = RandomZoom(0.3, 0.3).draw(spread())
    assert not torch.equal(free["height_zoom"], free["width_zoom"])


@pytest.mark.parametrize(
    ("mode", "axes"), [("horizontal", (-1,)), ("vertical", (-2,)), ("horizontal_and_vertical", (-2, -1))]
)
def test_flip_reverses_pixels_exactly(mode: str, axes: tuple[int, ...]) -> None:
    images = noise(2)
    flip = RandomFlip(mode)
    params = {"flips": torch.tensor([True, False])}
    flipped = flip.apply(images, params)
    assert flipped.dtype == torch.float32
    assert torch.equal(flipped[0], images[0].flip(axes).float())
    assert torch.equal(flipped[1], images[1].float())
    matrix = flip.matrix(params, *images.shape[-2:])
    resampled = resample(images.double(), matrix, "constant", 0.0)
    torch.testing.assert_close(resampled, flipped.double(), rtol=0, atol=1e-9)


def test_a_quarter_turn_is_rot90() -> None:
    images = noise(1, 13, 13).double()
    turned = RandomRotation(0.5).apply(images, {"angle": torch.tensor([90.0])})
    torch.testing.assert_close(turned, images.rot90(1, (-2, -1)), rtol=0, atol=1e-9)


def test_a_translation_by_whole_pixels_moves_them_down_and_right() -> None:
    images = noise(1, 10, 20).double()
    shift = RandomTranslation(0.5, 0.5, fill_mode="wrap")
    down, right = torch.tensor([[0.2], [0.15]], dtype=torch.float64)
    moved = shift.apply(images, {"height_shift": down, "width_shift": right})
    torch.testing.assert_close(moved, images.roll((2, 3), (-2, -1)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("height_zoom", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("width_zoom", [0.5, 1.0, 2.0])
def test_a_zoom_above_one_makes_the_picture_smaller(height_zoom: float, width_zoom: float) -> None:
    image = torch.zeros(1, 3, 61, 61)
    image[..., 20:41, 20:41] = 200.0  # 21 pixels about the centre
    zoom = RandomZoom(1.0, 1.0, fill_mode="constant")
    params = {"height_zoom": torch.tensor([height_zoom]), "width_zoom": torch.tensor([width_zoom])}
    covered = zoom.apply(image, params)[0, 0] >= 100.0
    assert abs(covered[:, 30].sum() - 21 / height_zoom) <= 1
    assert abs(covered[30].sum() - 21 / width_zoom) <= 1
    assert torch.equal(covered, covered.flip((0, 1)))


CLASSES: list[Callable[..., Geometric]] = [
    lambda **kw: RandomRotation(0.2, **kw),
    lambda **kw: RandomZoom(0.3, 0.2, **kw),
    lambda **kw: RandomTranslation(0.3, 0.3, **kw),
]


@pytest.mark.parametrize("make", CLASSES)
@pytest.mark.parametrize("fill_mode", ["reflect", "constant", "nearest", "wrap"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_every_sample_is_transformed_by_its_own_draw(
    make: Callable[..., Geometric], fill_mode: str, interpolation: str
) -> None:
    transform = make(fill_mode=fill_mode, interpolation=interpolation, fill_value=50.0)
    images = noise(1, 15, 14).expand(4, -1, -1, -1)
    params = transform.draw(spread(4, transform.draws))
    batch = transform.apply(images, params)
    alone = [
        transform.apply(images[n : n + 1], {name: value[n : n + 1] for name, value in params.items()}) for n in range(4)
    ]
    assert torch.equal(batch, torch.cat(alone))
    assert len({tuple(sample.flatten().tolist()) for sample in batch}) == 4
    assert batch.min() >= 0
    assert batch.max() <= 255 + 1e-3


@pytest.mark.parametrize("make", CLASSES)
def test_types(make: Callable[..., Geometric]) -> None:
    transform = make()
    images = waves(3, 20, 21)
    params = transform.draw(spread(3, transform.draws))
    single = transform.apply(images, params)
    double = transform.apply(images.double(), params)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-3)
    assert transform.apply(images.to(torch.bfloat16), params).dtype == torch.float32
    assert torch.equal(transform.apply(noise(3), params), transform.apply(noise(3).float(), params))
    assert transform.matrix(params, 20, 21).shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomRotation(1.5), ["RandomRotation: factor", "1.5"]),
        (lambda: RandomRotation("0.1"), ["RandomRotation: factor", "'0.1'"]),
        (lambda: RandomRotation((0.1, 0.2, 0.3)), ["RandomRotation: factor"]),
        (lambda: RandomRotation(True), ["RandomRotation: factor", "True"]),
        (lambda: RandomRotation(math.nan), ["RandomRotation: factor", "nan"]),
        (lambda: RandomRotation(0.1, fill_mode="reflekt"), ["fill_mode", "'reflekt'", "reflect"]),
        (lambda: RandomRotation(0.1, interpolation="cubic"), ["interpolation", "bilinear, nearest"]),
        (lambda: RandomRotation(0.1, fill_value="black"), ["fill_value", "'black'"]),
        (lambda: RandomZoom(-1.0), ["RandomZoom: height_factor", "(-1.0, 1.0]"]),
        (lambda: RandomZoom(0.1, 2), ["RandomZoom: width_factor", "2"]),
        (lambda: RandomTranslation(0.1, -3), ["RandomTranslation: width_factor", "-3"]),
        (lambda: RandomFlip("horisontal"), ["RandomFlip: mode", "'horizontal'"]),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Augmentation], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)
