"""JPEG files to measure with, where no folder of photographs is given."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("checks", "discs", "rings", "stripes", "waves")
SIZE = (375, 500)
"""(height, width) in pixels, as photographs on the web have."""


def draw_folder(root: Path, count: int, seed: int) -> Path:
    """Write ``count`` JPEG files below ``root``, a folder a class, and return ``root``."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        name = CLASSES[number % len(CLASSES)]
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_draw(name, rng)).save(folder / f"{number:05}.jpg", quality=90)
    return root


def _draw(name: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A pattern of two colours with noise, (height, width, 3): what costs a decoder as much as a photograph."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] / 375.0
    angle, pitch = rng.uniform(0, 3.14), rng.uniform(15, 45)
    centre = rng.uniform(0.3, 0.7, 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    radius = np.hypot(x - centre[1], y - centre[0])
    value = {
        "checks": np.sign(np.sin(pitch * along) * np.sin(pitch * across)),
        "discs": np.sign(np.cos(pitch * along) + np.cos(pitch * across) - 1),
        "rings": np.sin(2 * pitch * radius),
        "stripes": np.sign(np.sin(pitch * along)),
        "waves": np.sin(pitch * along + 3 * np.sin(4 * across)),
    }[name]
    colours = rng.uniform(0, 255, (2, 3))
    pixels = colours[0] + (value[..., None] + 1) / 2 * (colours[1] - colours[0])
    noisy: NDArray[np.float64] = pixels + rng.normal(0, 8, pixels.shape)
    return noisy.clip(0, 255).astype(np.uint8)
