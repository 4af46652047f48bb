"""What is noted while a run trains: metrics of each epoch, time, the best and the last weights.

differs: in lightning_tl Lightning's loggers and checkpoints do this.
"""

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

import keras

from keras_ref.events import Events
from keras_ref.files import replacing, write_text
from keras_ref.runfolder import BEST, LAST

METRICS = ("accuracy", "f1", "loss")
COLUMNS = ("epoch", "step", *(f"train_{name}" for name in METRICS), *(f"val_{name}" for name in METRICS))


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Keeps metrics.csv and checkpoints of a run over all its phases.

    Args:
        run_folder: where to write.
        saver: model that writes the weights; see ``TransferClassifier``.

    Attributes:
        epochs: that have ended, over all phases.
        history: one entry a phase: name, epochs, images, seconds and the last validation metrics.
    """

    def __init__(self, run_folder: Path, saver: Any) -> None:
        super().__init__()
        self.run_folder, self.saver = run_folder, saver
        self.epochs = 0
        self.history: list[dict[str, Any]] = []
        self.phase_best: tuple[float, list[Any]] | None = None
        self._best = float("inf")
        self._rows: list[dict[str, Any]] = []
        self._images, self._steps, self._step, self._clock = 0, 0, 0, 0.0
        self._keep_phase_best = False
        self._events = Events(run_folder)

    def enter(self, name: str, images: int, steps: int, keep_best: bool) -> None:
        """Begin a phase of ``images`` and ``steps`` an epoch; ``keep_best`` if the next needs its best."""
        self.history.append({"name": name, "epochs": 0, "images": 0, "seconds": 0.0})
        self._images, self._steps, self._keep_phase_best = images, steps, keep_best
        self.phase_best = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock of training."""
        self._clock = time.perf_counter()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Stop the clock where validation begins."""
        self.history[-1]["seconds"] += time.perf_counter() - self._clock
        self.history[-1]["images"] += self._images

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write a row of metrics.csv, the events and the checkpoints."""
        values = {name: float(value) for name, value in (logs or {}).items()}
        self._step += self._steps
        row: dict[str, float] = {"epoch": self.epochs, "step": self._step - 1}
        row |= {f"train_{name}": values[name] for name in METRICS}
        validated = {f"val_{name}": values[f"val_{name}"] for name in METRICS}
        self._rows.append(row | validated)
        self._events.write({**row, **validated}, self._step - 1)
        self.history[-1] |= {"epochs": epoch + 1, **validated}
        self.epochs += 1
        self._write_metrics()
        self._save(values["val_loss"])

    def results(self) -> list[dict[str, Any]]:
        """One entry a phase: name, epochs, last validation metrics, training images per second."""
        entries = []
        for entry in self.history:
            values = {key: value for key, value in entry.items() if key not in ("images", "seconds")}
            entries.append({**values, "images_per_second": entry["images"] / entry["seconds"]})
        return entries

    def _write_metrics(self) -> None:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.run_folder / "metrics.csv", stream.getvalue())

    def _save(self, val_loss: float) -> None:
        """The last weights, and the best if these are; a first epoch does even with a loss of NaN, worse than any."""
        self._save_weights(LAST)
        val_loss = math.inf if math.isnan(val_loss) else val_loss
        if self.epochs == 1 or val_loss < self._best:
            self._best = val_loss
            self._save_weights(BEST)
        if self._keep_phase_best and val_loss < (self.phase_best or (math.inf,))[0]:
            self.phase_best = (val_loss, self.model.get_weights())

    def _save_weights(self, name: str) -> None:
        with replacing(self.run_folder / "checkpoints" / name) as temporary:
            # Keras wants a name that ends in .weights.h5, which the temporary one does not.
            written = temporary.with_name(f"{temporary.stem}.weights.h5")
            try:
                self.saver.save_weights(written)
                written.replace(temporary)
            finally:
                written.unlink(missing_ok=True)
