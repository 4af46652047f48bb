"""Thumbnails and their files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import noise, waves
from PIL import Image

from lightning_tl.thumbnail import SIDE, save_jpeg, thumbnails


@pytest.mark.parametrize(
    ("size", "expected"),
    [((160, 160), (112, 112)), ((160, 320), (56, 112)), ((113, 20), (112, 20)), ((1, 500), (1, 112))],
)
def test_large_images_are_made_smaller_smoothly(size: tuple[int, int], expected: tuple[int, int]) -> None:
    images = waves(2, *size).round().to(torch.uint8)
    small = thumbnails(images)
    assert small.dtype == torch.uint8
    assert tuple(small.shape) == (2, 3, *expected)
    for image, picture in zip(images, small, strict=True):  # as Pillow's triangle filter, which is torch's antialias
        height, width = expected
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(pillow).astype(int) - picture.permute(1, 2, 0).numpy()).max() <= 1


@pytest.mark.parametrize(
    ("size", "times"), [((32, 32), 3), ((56, 40), 2), ((57, 8), 1), ((SIDE, SIDE), 1), ((1, 1), SIDE)]
)
def test_small_images_are_enlarged_pixel_by_pixel(size: tuple[int, int], times: int) -> None:
    images = noise(2, *size)
    large = thumbnails(images)
    assert tuple(large.shape[-2:]) == (size[0] * times, size[1] * times)
    for offset in range(0, times, 7):
        assert torch.equal(large[..., offset::times, offset::times], images)


def test_a_file_is_a_jpeg_that_looks_like_the_image(tmp_path: Path) -> None:
    (image,) = waves(1, 40, 64).round().to(torch.uint8)
    save_jpeg(tmp_path / "a.jpg", image)
    with Image.open(tmp_path / "a.jpg") as read:
        assert (read.format, read.mode, read.size) == ("JPEG", "RGB", (64, 40))
        difference = np.asarray(read).astype(int) - image.permute(1, 2, 0).numpy()
    assert np.abs(difference).mean() < 6
