"""Small pictures of images, as JPEG files.

differs: Pillow resizes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keras_ref.data.decode import Pixels

SIDE = 112
"""Pixels that a thumbnail's longer side has at most."""
QUALITY = 80
"""Of JPEG files, from 1 to 95: a thumbnail takes 2 to 6 kB."""


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images with a longer side of at most ``SIDE``; small ones are enlarged by a whole number, pixel by pixel.

    Args:
        images: uint8 in [0, 255], shape (batch, height, width, 3).

    Returns:
        uint8 in [0, 255], shape (batch, new height, new width, 3), of the same aspect ratio.
    """
    height, width = images.shape[1:3]
    longer = max(height, width)
    if longer <= SIDE:
        times = SIDE // longer
        return images.repeat(times, axis=1).repeat(times, axis=2)
    size = (max(1, round(width * SIDE / longer)), max(1, round(height * SIDE / longer)))
    # Antialiased, as Pillow always is.
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images])


def save_jpeg(path: Path, image: Pixels) -> None:
    """Write uint8 (height, width, 3) to ``path``. Raises OSError if that fails."""
    Image.fromarray(image).save(path, format="JPEG", quality=QUALITY)
