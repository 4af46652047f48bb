"""scikit-learn's handwritten digits as a torchvision-style dataset: real data that needs no download."""

from typing import Any

import numpy as np
from PIL import Image

from lightning_tl.errors import InputError


class Digits:
    """1797 handwritten digits of 8x8 pixels (the test part of UCI's Optical Recognition of Handwritten Digits).

    Items are (RGB Pillow image of 8x8 pixels, label from 0 to 9); the data module resizes them.

    Raises:
        InputError: scikit-learn, which carries the data, is not installed.
    """

    classes = tuple("0123456789")

    def __init__(self) -> None:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise InputError(
                "data.dataset: Digits needs scikit-learn. Install it with: pip install scikit-learn."
            ) from error
        digits: Any = load_digits()
        # Sixteen grey levels, dark on light paper: 0 is paper.
        self.images = (255 - digits.images * (255 / 16)).astype(np.uint8)
        self.targets = [int(label) for label in digits.target]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]).convert("RGB"), self.targets[index]
