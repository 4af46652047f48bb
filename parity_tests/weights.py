"""Weights that both sides read from one file: random ones such as training leaves them, and real ones."""

from functools import cache
from pathlib import Path

import h5py
import numpy as np

from lightning_tl.keras_layers import WEIGHTS, mobilenetv2_layers, name_table
from parity_tests.claim import assets
from parity_tests.processes import session_folder


@cache
def lived_in(alpha: float) -> str:
    """Path of a Keras legacy .h5 file of MobileNetV2 without top, with random numbers everywhere.

    Means are not 0, variances and scales not 1, so that every constant and every axis order shows. Kernels
    keep the size of what passes through them, so that deep features are of the order of 1.
    """
    path = session_folder() / f"lived_in_{alpha}.h5"
    rng = np.random.default_rng(round(100 * alpha))
    arrays = {row.keras: _draw(rng, row.keras, row.shape) for row in name_table("torchvision", alpha)}
    _write(path, arrays, alpha)
    return str(path)


def real(alpha: float) -> str:
    """Path of Keras' ImageNet weights.

    Raises:
        Skipped: there are no assets.
    """
    return str(Path(assets()) / "weights" / f"keras_mobilenet_v2_{alpha}_224_no_top.h5")


GAIN = 1.4
"""Variance of a kernel times its fan-in: at 1 images fade, at 2 float32 rounding grows with every layer."""


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 4:
        fan_in = shape[0] * shape[1] * (1 if "depthwise" in name else shape[2])
        return rng.normal(0, np.sqrt(GAIN / fan_in), shape)
    low, high = (0.5, 1.5) if name.endswith(("gamma", "variance")) else (-0.3, 0.3)
    return rng.uniform(low, high, shape)


def _write(path: Path, arrays: dict[str, np.ndarray], alpha: float) -> None:
    """The legacy layout: a group a layer, in order, each listing its weights."""
    layers = mobilenetv2_layers(alpha)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{keras}" for keras, _ in WEIGHTS.get(layer.kind, ())]
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in names]
            for name in names:
                group[f"{name}:0"] = arrays[name].astype(np.float32)
