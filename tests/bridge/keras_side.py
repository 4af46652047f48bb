"""Keras in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

WORKER = Path(__file__).with_name("keras_worker.py")


def run_keras(*arguments: str | Path) -> None:
    """Run the worker with a home of its own: Keras writes a settings file there."""
    folder = Path(arguments[1])
    environment = os.environ | {"KERAS_BACKEND": "torch", "KERAS_HOME": str(folder / "keras_home")}
    command = [sys.executable, "-P", str(WORKER), *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def save_images(folder: Path, height: int = 96, width: int = 97) -> np.ndarray:
    """Four images, uint8 (4, height, width, 3), in coarse patches; one side is odd, one even."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (4, height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    np.save(folder / "images.npy", images)
    return images
