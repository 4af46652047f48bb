"""A picture of what augmentation does: every row a sample, every column an epoch, or a draw.

differs: lightning_tl can also write it as a PNG file of its own.
"""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_ref.data.dataset import Drawn, draw

PADDING, PAPER = 2, 255
"""Pixels between pictures, and what they are filled with."""


def augmented_samples(
    images: NDArray[np.uint8], index: NDArray[np.int64], augment: Any, drawn: Drawn, seed: int, epochs: int = 7
) -> NDArray[np.uint8]:
    """Samples as the first epochs of a run show them; where Keras draws, samples of the same kind.

    differs: a layer of Keras' own draws what its random stream, which has no epochs, gives next: the columns are then
    no images of training, but others drawn by the same layers. The streams go on afterwards as if they had given none.

    Args:
        images: uint8, shape (samples, height, width, 3).
        index: of the samples, int64, shape (samples,); with ``seed`` it decides the draws.
        augment: the augmentations; see ``TransferClassifier``.
        drawn: inputs of the classifier that are uniform numbers; empty where Keras draws.
        seed: of the run.
        epochs: number of columns after the first, which holds the originals.

    Returns:
        uint8, shape (samples, columns, height, width, 3).
    """
    drawn = {tensor.name: drawn[tensor.name] for tensor in augment.inputs if tensor.name in drawn}
    streams = [ops.convert_to_numpy(state).copy() for state in augment.variables]
    columns = [images]
    for epoch in range(epochs):
        inputs = {"image": images.astype(np.float32), **draw(drawn, seed, epoch, index)}
        augmented = ops.convert_to_numpy(augment(inputs, training=True))
        columns.append(np.rint(augmented).clip(0, 255).astype(np.uint8))
    for state, value in zip(augment.variables, streams, strict=True):
        state.assign(value)
    return np.stack(columns, axis=1)


def lay_out(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One picture of many: uint8 (rows, columns, height, width, 3) to (grid height, grid width, 3), 2 pixels apart."""
    before = np.pad(pictures, [(0, 0), (0, 0), (PADDING, 0), (PADDING, 0), (0, 0)], constant_values=PAPER)
    rows, columns, height, width, channels = before.shape
    grid = before.swapaxes(1, 2).reshape(rows * height, columns * width, channels)
    return np.pad(grid, [(0, PADDING), (0, PADDING), (0, 0)], constant_values=PAPER)
