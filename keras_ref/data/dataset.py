"""Samples as batches that depend on their position alone, so that epochs need no state.

differs: lightning_tl has a data set of single images, a sampler and worker processes; Keras takes whole
batches.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_ref import draws
from keras_ref.data.decode import resize_image
from keras_ref.data.source import Source
from keras_ref.options import DataConfig

Batch = tuple[dict[str, NDArray[np.float32]], NDArray[Any]]
"""Inputs by name (``image`` float32 in [0, 255], (batch, height, width, 3), and uniform numbers) and
labels."""

Drawn = Mapping[str, tuple[int, int]]
"""Inputs that are uniform numbers: name to stream and count per sample; empty where Keras draws."""

LOOKAHEAD = 2
"""Batches that are prepared while the model works on one."""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras ships no types
    """The images of one split, in the order of the split file.

    Args:
        source: the samples.
        split: train, val or test.
        options: size, resizing, batch size and threads.
        drawn: further inputs; ``seed`` and the epoch decide about them.
        seed: of the run.
        one_hot: labels as rows of (batch, classes) instead of integers (batch,).
    """

    def __init__(
        self, source: Source, split: str, options: DataConfig, drawn: Drawn, seed: int, one_hot: bool = False
    ) -> None:
        super().__init__()
        self.source, self.options, self.drawn, self.seed = source, options, drawn, seed
        self.indices = source.indices(split)
        self.labels = np.eye(len(source.class_names), dtype=np.float32)[source.labels] if one_hot else source.labels
        self.steps = -(-len(self.indices) // options.batch_size)
        self._pool = ThreadPoolExecutor(options.num_workers) if options.num_workers else None
        self._ahead: dict[int, Future[Batch]] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, position: int) -> Batch:
        if self._pool is None:
            return self._batch(position)
        for later in range(position, min(position + LOOKAHEAD + 1, len(self))):
            if later not in self._ahead:
                self._ahead[later] = self._pool.submit(self._batch, later)
        return self._ahead.pop(position).result()

    def _batch(self, position: int) -> Batch:
        epoch, step = divmod(position, self.steps)
        order = self._order(epoch)
        index = order[step * self.options.batch_size : (step + 1) * self.options.batch_size]
        images = pixels(self.source, self.options, index.tolist()).astype(np.float32)
        inputs = {"image": images, **draw(self.drawn, self.seed, self._run_epoch(epoch), index)}
        return inputs, self.labels[index]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Sample indices in the order of an epoch, counted from 0 in this object."""
        return self.indices

    def _run_epoch(self, epoch: int) -> int:
        """The same epoch, counted over all phases."""
        return epoch


class TrainBatches(Batches):
    """The training images of one phase: all its epochs one after the other, each in an order of its own.

    ``Model.fit(steps_per_epoch=steps)`` takes an epoch's batches at a time. A batch is a function of its
    position alone, since Keras prepares batches ahead of the callbacks that could tell a data set the epoch.

    Args:
        source: the samples.
        options: size, resizing, batch size and threads.
        drawn: see ``Batches``.
        seed: of the run.
        order: from the epoch of the run and the indices to the indices in training order.
        first_epoch: of the phase, counted over all phases.
        epochs: of the phase.
        one_hot: see ``Batches``.
    """

    def __init__(
        self,
        source: Source,
        options: DataConfig,
        drawn: Drawn,
        seed: int,
        order: Callable[[int, NDArray[np.int64]], NDArray[np.int64]],
        first_epoch: int,
        epochs: int,
        one_hot: bool = False,
    ) -> None:
        super().__init__(source, "train", options, drawn, seed, one_hot)
        self.order, self.first_epoch, self.epochs = order, first_epoch, epochs

    def __len__(self) -> int:
        return self.steps * self.epochs

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return self.order(self._run_epoch(epoch), self.indices)

    def _run_epoch(self, epoch: int) -> int:
        return self.first_epoch + epoch


def pixels(source: Source, options: DataConfig, indices: Sequence[int]) -> NDArray[np.uint8]:
    """Samples by their index, as batches have them: uint8 (len(indices), height, width, 3).

    Raises:
        InputError: a file can no longer be decoded.
    """
    images = (source.read(source.samples[index].path) for index in indices)
    return np.stack([resize_image(image, options.size, options.resize, options.antialias) for image in images])


def draw(drawn: Drawn, seed: int, epoch: int, index: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """The uniform numbers of these samples in one epoch of the run, by name, each (samples, count)."""
    return {
        name: draws.uniforms(draws.stream_key(seed, stream, epoch), index, count)
        for name, (stream, count) in drawn.items()
    }


def shared_order(seed: int) -> Callable[[int, NDArray[np.int64]], NDArray[np.int64]]:
    """The order of ``draws.epoch_order``, which lightning_tl follows too."""
    return lambda epoch, indices: draws.epoch_order(seed, epoch, indices)


def numpy_order(seed: int) -> Callable[[int, NDArray[np.int64]], NDArray[np.int64]]:
    """An order from NumPy's generator, as good as any, for runs in which Keras draws."""
    return lambda epoch, indices: np.random.default_rng((seed, epoch)).permutation(indices)
