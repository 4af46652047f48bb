"""A folder with a checkpoint and images, for all tests of one file."""

from pathlib import Path

import pytest
from predicting import draw, write_checkpoint


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``best.ckpt`` and ``photos`` with 11 images, some of them in a folder of their own."""
    folder = tmp_path_factory.mktemp("predict")
    write_checkpoint(folder / "best.ckpt")
    draw(folder / "photos", 6)
    draw(folder / "photos" / "more", 5, seed=1)
    return folder
