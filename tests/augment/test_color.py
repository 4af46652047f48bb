"""Brightness, contrast, saturation and hue."""

import colorsys
from collections.abc import Callable

import pytest
import torch
from pictures import noise

from lightning_tl.augment import Augmentation, ColorJitter, RandomBrightness, RandomContrast
from lightning_tl.augment.color import adjust_hue, adjust_saturation, hsv_to_rgb, rgb_to_hsv
from lightning_tl.errors import InputError

RANGE = (0.0, 255.0)
ENDS = torch.tensor([[0.0] * 5, [1.0] * 5, [0.5] * 5])


def test_hsv_is_that_of_the_standard_library() -> None:
    images = torch.cat((noise(2, 6, 6), torch.zeros(1, 3, 6, 6), torch.full((1, 3, 6, 6), 255)))
    images = images.double() / 255
    planes = torch.stack(rgb_to_hsv(images), dim=-1).reshape(-1, 3)
    pixels = images.movedim(1, -1).reshape(-1, 3)
    expected = torch.tensor([colorsys.rgb_to_hsv(*pixel) for pixel in pixels.tolist()], dtype=torch.float64)
    torch.testing.assert_close(planes, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(hsv_to_rgb(*rgb_to_hsv(images)), images, rtol=0, atol=1e-12)


def test_brightness_adds_and_cuts() -> None:
    images = torch.tensor([10.0, 250.0]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4)
    out = RandomBrightness(0.2).apply(images, {"rgb_delta": torch.tensor([-20.0, 3.0])})
    assert out[:, 0, 0, 0].tolist() == [0.0, 253.0]


def test_contrast_scales_about_the_mean_of_each_channel() -> None:
    image = torch.tensor([[100.0, 120.0], [60.0, 80.0]]).expand(1, 3, 2, 2) + torch.tensor([0.0, 10.0, 20.0]).reshape(
        3, 1, 1
    )
    out = RandomContrast(0.5).apply(image, {"contrast_factor": torch.tensor([0.5])})
    torch.testing.assert_close(out[0, 1], torch.tensor([[105.0, 115.0], [85.0, 95.0]]))


def test_saturation_from_grey_to_full() -> None:
    images = noise(3).float()
    out = adjust_saturation(images, torch.tensor([0.0, 1.0, 1e7]), RANGE)
    assert (out[0].amax(0) - out[0].amin(0)).max() < 1e-3
    torch.testing.assert_close(out[1], images[1], rtol=0, atol=1e-3)
    coloured = images[2].amax(0) > images[2].amin(0)
    assert out[2].amin(0)[coloured].max() < 1e-3  # fully saturated colours lack one primary
    torch.testing.assert_close(out[2].amax(0), images[2].amax(0))


def test_saturation_ends_at_one_and_keeps_the_hue() -> None:
    images = noise(1, 6, 6).double()
    out = adjust_saturation(images, torch.tensor([3.0]), RANGE).movedim(1, -1).reshape(-1, 3) / 255
    hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in (images / 255).movedim(1, -1).reshape(-1, 3).tolist()]
    assert any(0 < 3 * s < 1 for _, s, _ in hsv)
    assert any(3 * s > 1 for _, s, _ in hsv)
    expected = [colorsys.hsv_to_rgb(h, min(1.0, 3 * s), v) for h, s, v in hsv]
    torch.testing.assert_close(out, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_hue_turns_red_to_green_to_blue() -> None:
    red = torch.tensor([200.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(2, 3, 2, 2)
    out = adjust_hue(red, torch.tensor([1 / 3, -1 / 3]), RANGE)
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([0.0, 200.0, 0.0]), rtol=0, atol=1e-3)
    torch.testing.assert_close(out[1, :, 0, 0], torch.tensor([0.0, 0.0, 200.0]), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("transform", "name", "expected"),
    [
        (RandomBrightness(0.2), "rgb_delta", [-51.0, 51.0, 0.0]),
        (RandomBrightness((0.0, 0.5), value_range=(0, 1)), "rgb_delta", [0.0, 0.5, 0.25]),
        (RandomContrast(0.2), "contrast_factor", [1.0, 1.2, 1.1]),
        (RandomContrast((0.2, 0.4)), "contrast_factor", [0.8, 1.4, 1.1]),
        (ColorJitter(brightness_factor=0.2), "rgb_delta", [-51.0, 51.0, 0.0]),
        (ColorJitter(contrast_factor=(0.2, 0.4)), "contrast_factor", [0.8, 1.4, 1.1]),
        (ColorJitter(saturation_factor=0.5), "saturation_factor", [0.0, 1.0, 1 / 3]),
        (ColorJitter(hue_factor=0.4), "hue_factor", [0.0, -0.2, 0.1]),
    ],
)
def test_draws_reach_the_ends_of_their_range(transform: Augmentation, name: str, expected: list[float]) -> None:
    params = transform.draw(ENDS)
    assert list(params) == [name]
    torch.testing.assert_close(params[name], torch.tensor(expected))


def test_jitter_uses_a_number_for_each_draw() -> None:
    jitter = ColorJitter(brightness_factor=0.2, contrast_factor=0.2, saturation_factor=0.4, hue_factor=0.3)
    middle = torch.full((1, 5), 0.4)
    names = ["rgb_delta", "contrast_factor", "saturation_factor", "hue_factor", "hue_factor"]
    for position, name in enumerate(names):
        moved = middle.clone()
        moved[0, position] = 0.9
        changed = [key for key, value in jitter.draw(moved).items() if value != jitter.draw(middle)[key]]
        assert changed == [name]


def test_jitter_is_its_parts_in_order() -> None:
    images = noise(4)
    uniforms = torch.rand(4, 5, generator=torch.Generator().manual_seed(1))
    jitter = ColorJitter(brightness_factor=0.3, contrast_factor=0.5, saturation_factor=0.6, hue_factor=0.2)
    params = jitter.draw(uniforms)
    expected = RandomBrightness(0.3).apply(images, params)
    expected = RandomContrast(0.5).apply(expected, params)
    expected = adjust_saturation(expected, params["saturation_factor"], RANGE)
    expected = adjust_hue(expected, params["hue_factor"], RANGE)
    result = jitter.apply(images, params)
    assert torch.equal(result, expected)
    assert result.min() >= 0
    assert result.max() <= 255
    assert torch.equal(ColorJitter().apply(images, {}), images.float())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_types(dtype: torch.dtype) -> None:
    jitter = ColorJitter(brightness_factor=0.3, contrast_factor=0.5, saturation_factor=0.6, hue_factor=0.2)
    params = jitter.draw(torch.rand(2, 5, generator=torch.Generator().manual_seed(1)))
    out = jitter.apply(noise(2).to(dtype), params)
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(jitter.apply(noise(2).to(dtype), params), out)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomBrightness(2), ["RandomBrightness: factor", "2"]),
        (lambda: RandomContrast(-0.1), ["RandomContrast: factor", "[0.0, 1.0]"]),
        (lambda: RandomContrast(0.1, value_range=(255, 0)), ["RandomContrast: value_range", "(255, 0)"]),
        (lambda: RandomBrightness(0.1, value_range=255), ["RandomBrightness: value_range", "255"]),
        (lambda: ColorJitter(hue_factor=1.2), ["ColorJitter: hue_factor", "1.2"]),
        (lambda: ColorJitter(saturation_factor=-1), ["ColorJitter: saturation_factor", "-1"]),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Augmentation], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_grey_images_are_refused() -> None:
    with pytest.raises(InputError, match="three channels"):
        ColorJitter(hue_factor=0.1).apply(noise(2)[:, :1], {"hue_factor": torch.zeros(2)})
