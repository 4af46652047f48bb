"""What holds for all tests, and the fixtures they share."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

if TYPE_CHECKING:
    from training import Fit

# torch gives some warnings once a process: which test then fails would depend on the tests that ran before it.
torch.set_warn_always(True)

ImageFolderFactory = Callable[..., Path]

CACHE = "LIGHTNING_TL_CACHE"


def pytest_configure(config: pytest.Config) -> None:
    """Keep decoded images for one run of the tests; processes of pytest-xdist find the folder in their environment.

    An unexpected error of the command line shows where it was.
    """
    os.environ["LIGHTNING_TL_TRACEBACK"] = "1"
    if not hasattr(config, "workerinput"):
        os.environ[CACHE] = tempfile.mkdtemp(prefix="lightning_tl_cache_")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(CACHE, ""), ignore_errors=True)


@pytest.fixture
def assets() -> Path:
    """The folder of real weights and photographs; the test is skipped without it."""
    folder = os.environ.get("LIGHTNING_TL_ASSETS")
    if not folder:
        pytest.skip("LIGHTNING_TL_ASSETS is not set: no real weights and photographs")
    return Path(folder)


@pytest.fixture
def small_batches_have_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of oneDNN's, for frozen layers; without this only batches have one that are worth it."""
    from graphed import BATCH  # imports the package: only where it is needed

    monkeypatch.setattr("lightning_tl.frozen_graph.WORTH", BATCH * 33 * 33)


@pytest.fixture
def image_folder(tmp_path: Path) -> ImageFolderFactory:
    """A function that fills a folder with tiny random images, JPEG and PNG in turn, by class.

    ``image_folder({"ants": 3, "bees": 3}, root="images", size=(12, 16))`` returns the folder; class names may
    hold slashes (``train/ants``). Size is (height, width).
    """

    def make(counts: Mapping[str, int], root: str = "images", size: tuple[int, int] = (12, 16)) -> Path:
        rng = np.random.default_rng(0)
        for name, count in counts.items():
            folder = tmp_path / root / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:03d}.{('jpg', 'png')[number % 2]}")
        return tmp_path / root

    return make


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a config, and a finished run of the command line in ``run``."""
    from calling import make_workplace  # here and below: few test files need the package in their own process

    return make_workplace(tmp_path_factory.mktemp("workplace"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty images of three colours in a folder."""
    from training import draw_images

    return draw_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def fit(images: Path, tmp_path: Path) -> "Fit":
    """``training.fit_phases`` on these images."""
    from training import fit_phases

    return partial(fit_phases, images, tmp_path)
