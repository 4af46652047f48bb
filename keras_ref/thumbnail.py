"""Small pictures of images, as JPEG files.

differs: Pillow resizes.
"""

from pathlib import Path

from PIL import Image

from keras_ref.data.decode import Pixels

SIDE = 112
"""Pixels that a thumbnail's longer side has at most."""
QUALITY = 80
"""Of JPEG files, from 1 to 95: a thumbnail takes 2 to 6 kB."""


def thumbnail(image: Pixels) -> Image.Image:
    """An image with a longer side of at most ``SIDE``; a small one is enlarged by a whole number, pixel by pixel.

    Args:
        image: uint8 in [0, 255], shape (height, width, 3).
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer <= SIDE:
        times = SIDE // longer
        return Image.fromarray(image).resize((width * times, height * times), Image.Resampling.NEAREST)
    size = (max(1, round(width * SIDE / longer)), max(1, round(height * SIDE / longer)))
    return Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)  # antialiased, as Pillow always is


def save_jpeg(path: Path, image: Image.Image) -> None:
    """Write to ``path``. Raises OSError if that fails."""
    image.save(path, format="JPEG", quality=QUALITY)
