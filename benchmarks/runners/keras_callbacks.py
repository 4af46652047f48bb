"""Callbacks that feed a meter from a Keras fit."""

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


class Steps(Losses):
    """Tells the meter of every step and ends the fit when it says so.

    Args:
        meter: to tell.
        size: from a batch's position to its number of images.
    """

    def __init__(self, meter: Meter, size: Callable[[int], int]) -> None:
        super().__init__()
        self.meter, self.size = meter, size

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Note a training step."""
        super().on_train_batch_end(batch, logs)
        if self.meter.step(self.size(batch), self.losses[-1]):
            self.model.stop_training = True

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note a predicted batch."""
        self.meter.step(self.size(batch))

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Note a validated batch."""
        self.meter.step(self.size(batch))


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
