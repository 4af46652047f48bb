"""One file of weights for every framework: Keras' own, or random ones in the same form."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from lightning_tl.keras_layers import WEIGHTS, mobilenetv2_layers, name_table

GAIN = 1.4
"""Variance of a kernel times its fan-in: below, images fade on their way; above, rounding grows."""


def write_random(path: Path, alpha: float, seed: int) -> Path:
    """Write MobileNetV2 without top, random, as Keras' legacy .h5 file; return ``path``."""
    rng = np.random.default_rng(seed)
    arrays = {row.keras: _draw(rng, row.keras, row.shape) for row in name_table("torchvision", alpha)}
    layers = mobilenetv2_layers(alpha)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{variable}" for variable, _ in WEIGHTS.get(layer.kind, ())]
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in names]
            for name in names:
                group[f"{name}:0"] = arrays[name]
    return path


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Kernels that keep the size of what passes through them; BatchNorm as if it had seen some data."""
    if len(shape) == 4:
        fan_in = shape[0] * shape[1] * (1 if "depthwise" in name else shape[2])
        return rng.normal(0, np.sqrt(GAIN / fan_in), shape).astype(np.float32)
    low, high = (0.5, 1.5) if name.endswith(("gamma", "variance")) else (-0.3, 0.3)
    return rng.uniform(low, high, shape).astype(np.float32)
