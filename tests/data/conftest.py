"""The images that tests of the data module share."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def root(image_folder: Callable[..., Path]) -> Path:
    """Ten images of each of two classes."""
    return image_folder({"ants": 10, "bees": 10})
