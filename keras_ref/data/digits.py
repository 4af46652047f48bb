"""scikit-learn's handwritten digits: real data that needs no download.

differs: in lightning_tl this is a data set in torchvision's style, one of many; here it is the only one.
"""

from typing import Any

import numpy as np

from keras_ref.data.decode import Pixels
from keras_ref.data.folder import Sample
from keras_ref.errors import InputError

CLASSES = tuple("0123456789")


def open_digits() -> tuple[tuple[Sample, ...], dict[str, Pixels]]:
    """1797 handwritten digits of 8x8 pixels (the test part of UCI's Optical Recognition of Handwritten Digits).

    Returns:
        The samples, all of train, and path to pixels.

    Raises:
        InputError: scikit-learn, which carries the data, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "data.dataset: Digits needs scikit-learn. Install it with: pip install scikit-learn."
        ) from error
    digits: Any = load_digits()
    # Sixteen grey levels, dark on light paper: 0 is paper.
    images = (255 - digits.images * (255 / 16)).astype(np.uint8)
    # The paths under which lightning_tl lists what is in no file: which images are held out follows from them.
    samples = tuple(Sample("train", f"train/{n}", CLASSES[label]) for n, label in enumerate(digits.target))
    return samples, {sample.path: image[..., None].repeat(3, 2) for sample, image in zip(samples, images, strict=True)}
