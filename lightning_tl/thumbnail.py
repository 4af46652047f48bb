"""Small pictures of images, as JPEG files."""

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

SIDE = 112
"""Pixels that a thumbnail's longer side has at most."""
QUALITY = 80
"""Of JPEG files, from 1 to 95: a thumbnail takes 2 to 6 kB."""


def thumbnails(images: Tensor) -> Tensor:
    """Images with a longer side of at most ``SIDE``; small ones are enlarged by a whole number, pixel by pixel.

    Args:
        images: uint8 in [0, 255], shape (batch, 3, height, width).

    Returns:
        uint8 in [0, 255], shape (batch, 3, new height, new width), of the same aspect ratio.
    """
    longer = max(images.shape[-2:])
    if longer <= SIDE:
        times = SIDE // longer
        return images.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    size = [max(1, round(side * SIDE / longer)) for side in images.shape[-2:]]
    resized = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def save_jpeg(path: Path, image: Tensor) -> None:
    """Write uint8 (3, height, width) to ``path``. Raises OSError if that fails."""
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(path, format="JPEG", quality=QUALITY)
