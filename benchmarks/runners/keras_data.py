"""Batches for Keras: in memory, and from JPEG files."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from benchmarks.resident import Images
from benchmarks.settings import Settings
from keras_ref import draws
from keras_ref.data import open_source
from keras_ref.data.dataset import TrainBatches, numpy_order
from keras_ref.options import DataConfig

ENDLESS = 10**6
"""Batches, or epochs, of a fit that is ended from outside."""
VAL_FRACTION = 0.2


class Feed(keras.utils.PyDataset):  # type: ignore[misc]  # keras ships no types
    """Ready batches of bytes with channels last: the model takes them, and a GPU is sent a quarter of float32's.

    Args:
        images: to deal out.
        batch_size: images a batch.
        length: batches of an epoch.
        drawn: inputs that are uniform numbers, name to stream and count; see ``keras_ref.classifier``.
        seed: of those.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        length: int,
        drawn: Mapping[str, tuple[int, int]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size, self.length, self.drawn, self.seed = batch_size, length, dict(drawn or {}), seed
        count = max(1, len(images.labels) // batch_size)
        self._batches = [images.batch(number, batch_size) for number in range(min(count, length))]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> tuple[dict[str, Any], Any]:
        pixels, labels = self._batches[number % len(self._batches)]
        index = np.arange(len(labels)) + number * self.batch_size
        inputs: dict[str, Any] = {"image": pixels}
        for name, (stream, count) in self.drawn.items():
            inputs[name] = draws.uniforms(draws.stream_key(self.seed, stream, 0), index, count)
        return inputs, labels


def files(job: dict[str, Any], settings: Settings) -> tuple[Any, int, Callable[[int], int]]:
    """The training images from disk, epoch after epoch.

    On TensorFlow by ``keras.utils.image_dataset_from_directory``, which reads in parallel in C++; that needs
    TensorFlow, so on torch and jax by the data set of ``keras_ref``.

    Returns:
        What ``fit`` takes; batches of an epoch; and from a batch's position to its number of images.
    """
    make = _tensorflow if keras.config.backend() == "tensorflow" else _reference
    data, count = make(job, settings)
    steps = -(-count // settings.batch_size)

    def size(position: int) -> int:
        last = position % steps == steps - 1
        return count - (steps - 1) * settings.batch_size if last else settings.batch_size

    return data, steps, size


def _tensorflow(job: dict[str, Any], settings: Settings) -> tuple[Any, int]:
    import tensorflow as tf

    data = keras.utils.image_dataset_from_directory(
        job["root"],
        image_size=(settings.image_size,) * 2,
        batch_size=settings.batch_size,
        validation_split=VAL_FRACTION,
        subset="training",
        seed=settings.seed,
        verbose=False,
    )
    count = len(data.file_paths)
    named = data.map(lambda pixels, labels: ({"image": pixels}, labels), num_parallel_calls=tf.data.AUTOTUNE)
    return named.repeat().prefetch(tf.data.AUTOTUNE), count


def _reference(job: dict[str, Any], settings: Settings) -> tuple[Any, int]:
    options = DataConfig(
        job["root"],
        settings.image_size,
        settings.batch_size,
        val_fraction=VAL_FRACTION,
        num_workers=settings.threads,
    )
    source = open_source(options, settings.seed)
    data = TrainBatches(source, options, {}, settings.seed, numpy_order(settings.seed), 0, ENDLESS)
    return data, len(data.indices)
