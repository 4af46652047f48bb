"""What a run shows while it works: a bar that names phase, epoch and images/s, and a table of the phases at the end."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import lightning
from lightning.pytorch.callbacks import RichProgressBar
from rich import box
from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from lightning_tl.errors import printable
from lightning_tl.phases import PhasedFinetuning

PER_SECOND = 8
"""Times that the bar is drawn anew; Lightning's 100 take a share of a processor that trains."""

SHOWN = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
"""Metrics in the line of an epoch."""


class ImagesPerSecond(ProgressColumn):
    """The speed of the current epoch, in place of batches per second."""

    def __init__(self, bar: "RunProgressBar") -> None:
        super().__init__()
        self._bar = bar

    def render(self, task: Task) -> Text:
        """Of the bar's own count: rich's counts batches."""
        return Text(f"{self._bar.images_per_second:.0f} images/s", style="dim")


class RunProgressBar(RichProgressBar):
    """Lightning's rich bar with the phase's name, the epoch within the phase, and images/s.

    Where the output is no terminal, such as a log file, there is one line an epoch instead.

    Args:
        console_kwargs: of rich's Console, on which the bar is drawn.
        refresh_rate: times a second that it is drawn.
    """

    def __init__(self, console_kwargs: Mapping[str, Any] | None = None, refresh_rate: int = PER_SECOND) -> None:
        options = dict(console_kwargs or {})
        console = Console(**options)
        self.live = console.is_terminal or console.is_jupyter
        super().__init__(refresh_rate=refresh_rate if self.live else 0, console_kwargs=options)
        self._images, self._seconds, self._clock, self._shown = 0, 0.0, 0.0, 0.0

    @property
    def images_per_second(self) -> float:
        """Images of all devices per second of the current epoch's batches, waiting for data included."""
        return self._images / self._seconds if self._seconds else 0.0

    def configure_columns(self, trainer: lightning.Trainer) -> list[Any]:
        """Lightning's, with the speed in images."""
        *columns, _ = super().configure_columns(trainer)
        return [*columns, ImagesPerSecond(self)]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to count."""
        self._begin()
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Begin to count where a run resumes in the middle of an epoch."""
        self._clock = self._clock or time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Count the batch."""
        self._count(trainer, args[2])
        super().on_train_batch_end(trainer, *args)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """One line where there is no bar."""
        super().on_train_epoch_end(trainer, pl_module)
        if not self.live and trainer.is_global_zero:
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
            shown = [f"{name} {metrics[name]:.4f}" for name in SHOWN if name in metrics]
            place = self._get_train_description(trainer.current_epoch).strip()
            print(f"{place}: {', '.join([*shown, f'{self.images_per_second:.0f} images/s'])}", flush=True)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock: the speed is that of training, also where it goes on after a validation."""
        if self._clock and not trainer.sanity_checking:
            self._seconds += time.perf_counter() - self._clock
        super().on_validation_start(trainer, pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start it again."""
        super().on_validation_end(trainer, pl_module)
        if not trainer.sanity_checking:
            self._clock = time.perf_counter()

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to count."""
        self._begin()

    def on_test_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Count the batch."""
        self._count(trainer, args[2])
        super().on_test_batch_end(trainer, *args)

    def on_predict_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to count."""
        self._begin()

    def on_predict_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Count the batch."""
        self._count(trainer, args[2])
        super().on_predict_batch_end(trainer, *args)

    def _begin(self) -> None:
        self._images, self._seconds, self._clock = 0, 0.0, time.perf_counter()

    def _count(self, trainer: lightning.Trainer, batch: Any) -> None:
        now = time.perf_counter()
        self._images += len(batch["label"]) * trainer.world_size
        self._seconds, self._clock = self._seconds + now - self._clock, now

    def _get_train_description(self, current_epoch: int) -> str:
        """``head 2/5``: epochs are counted from 1 within the phase, as a config states them."""
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
        phases = [callback for callback in callbacks if isinstance(callback, PhasedFinetuning)]
        if not phases:
            return super()._get_train_description(current_epoch)
        name, epoch, epochs = phases[0].place(current_epoch)
        return f"{printable(name)} {epoch}/{epochs}".ljust(len(self.validation_description))

    def _update_metrics(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """As often as the bar is drawn: to read a metric is to wait for the device."""
        now = time.perf_counter()
        if not trainer.training or now - self._shown > 1 / max(self.refresh_rate, 1):
            self._shown = now
            super()._update_metrics(trainer, pl_module)


def phase_table(phases: Sequence[Mapping[str, Any]], file: TextIO | None = None) -> None:
    """Print a row a phase: epochs, validation accuracy and loss after the last of them, training images/s.

    Args:
        phases: of results.json.
        file: where to print; stdout without it.
    """
    table = Table(box=box.SIMPLE_HEAD, title="phases", title_justify="left")
    for name in ("phase", "epochs", "val accuracy", "val loss", "images/s"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    for phase in phases:
        accuracy, loss = (f"{phase[name]:.4f}" if name in phase else "" for name in ("val_accuracy", "val_loss"))
        title = Text(printable(str(phase["name"])))
        table.add_row(title, str(phase["epochs"]), accuracy, loss, f"{phase['images_per_second']:.0f}")
    Console(file=file, highlight=False).print(table)
