"""Images to compare with: smooth enough to be resampled, rough enough to excite every channel."""

import numpy as np


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Coloured waves with noise: uint8, (count, height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pixels = np.full((count, height, width, 3), 128.0)
    for _ in range(4):
        fy, fx = rng.uniform(-0.4, 0.4, (2, count, 1, 1, 3))
        phase, size = rng.uniform(0, 6.28, (count, 1, 1, 3)), rng.uniform(10, 50, (count, 1, 1, 3))
        pixels += size * np.sin(fy * y[None, ..., None] + fx * x[None, ..., None] + phase)
    return (pixels + rng.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
