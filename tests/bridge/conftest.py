"""What Keras says, computed once."""

import os
from pathlib import Path

import pytest
from bridge.keras_side import run_keras, save_images


@pytest.fixture(scope="session")
def keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``layers.json``, ``base`` and ``whole`` models at alpha 0.35 in every format, and what they compute.

    With ``LIGHTNING_TL_ASSETS`` also the features by its Keras files, ``real_0.35.npy`` and ``real_1.0.npy``.
    """
    folder = tmp_path_factory.mktemp("keras")
    save_images(folder)
    assets = os.environ.get("LIGHTNING_TL_ASSETS")
    run_keras("describe", folder, *([Path(assets).resolve()] if assets else []))
    return folder
