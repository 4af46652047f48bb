"""Callbacks that feed a meter from a Keras fit."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from benchmarks.meter import Meter
from benchmarks.settings import Settings

Logs = Mapping[str, float]


class Losses(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Keeps the loss of every training step, which Keras logs as the mean of the epoch so far."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self._mean = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """A new mean begins."""
        self._mean = 0.0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Keep one."""
        mean = float((logs or {})["loss"])
        self.losses.append((batch + 1) * mean - batch * self._mean)
        self._mean = mean


class Means:
    """Mean losses of an epoch so far, by position; one thread waits for what another brings."""

    def __init__(self) -> None:
        self._found: dict[int, float] = {}
        self._changed = threading.Condition()

    def bring(self, batch: int, mean: float) -> None:
        """Keep one."""
        with self._changed:
            self._found[batch] = mean
            self._changed.notify_all()

    def wait(self, batch: int) -> float:
        """That of a position, when it is there. Raises TimeoutError after a minute."""
        with self._changed:
            if not self._changed.wait_for(lambda: batch in self._found, 60):
                raise TimeoutError(f"Keras has logged no loss for batch {batch}")
            return self._found[batch]


class Late:
    """The loss of a step whose mean may still be on its way from the device.

    Args:
        batch: the step's position in its epoch.
        means: of the epoch so far, by position, filled by another thread.
    """

    def __init__(self, batch: int, means: Means) -> None:
        self.batch, self.means = batch, means

    def __float__(self) -> float:
        before = self.batch * self.means.wait(self.batch - 1) if self.batch else 0.0
        return (self.batch + 1) * self.means.wait(self.batch) - before


class Steps(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Tells the meter of every step and ends the fit when it says so.

    On torch and JAX, Keras lets the device run ahead of Python unless a callback wants to see each batch's results at
    once. So a step is noted when the next one begins, and losses are taken in the thread that Keras has for callbacks
    that are ``async_safe``. On TensorFlow it waits for each step's results itself. Nothing here asks for ``self.model``
    before the end, which on JAX would have all weights brought up to date.

    Args:
        meter: to tell; of a prediction or validation it must be told one batch less than there are.
        size: from a batch's position to its number of images.
    """

    async_safe = True

    def __init__(self, meter: Meter, size: Callable[[int], int]) -> None:
        super().__init__()
        self.meter, self.size = meter, size
        self.means, self.ended = Means(), False
        self._running: tuple[int, Late | None] | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """New means begin."""
        self.means = Means()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """The step before has ended, as far as Python is concerned."""
        if self._ends():
            self.model.stop_training = True
        self._running = (batch, Late(batch, self.means))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Keep the mean, in a thread of its own."""
        self.means.bring(batch, float((logs or {})["loss"]))

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """The batch before has ended."""
        self._ends()
        self._running = (batch, None)

    on_test_batch_begin = on_predict_batch_begin

    def _ends(self) -> bool:
        """Tell the meter; whether it has just said that the fit should end."""
        if self.ended or self._running is None:
            return False
        batch, loss = self._running
        self.ended = self.meter.step(self.size(batch), loss)
        return self.ended


class Goal(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Ends a fit when validation accuracy has reached the goal, and notes when that was; for several fits.

    Args:
        accuracy: the goal, a fraction.
        settings: of the run.
    """

    def __init__(self, accuracy: float, settings: Settings) -> None:
        super().__init__()
        self.accuracy, self.settings = accuracy, settings
        self.began, self.epochs = time.perf_counter(), 0
        self.result: dict[str, Any] = {"reached": False}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the accuracy of this epoch."""
        self.epochs += 1
        reached = float((logs or {})["val_accuracy"])
        self.result = {
            "reached": reached >= self.accuracy,
            "accuracy": reached,
            "seconds": time.perf_counter() - self.began,
            "images": self.epochs * self.settings.batches * self.settings.batch_size,
        }
        if self.result["reached"]:
            self.model.stop_training = True
