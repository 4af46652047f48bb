"""The run folder's loggers: metrics.csv that survives a resume, and TensorBoard events without TensorFlow."""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from lightning_tl.files import replacing


class MetricsWriter(ExperimentWriter):
    """Lightning's CSV writer, which deletes the metrics.csv it finds, made to continue it with the first rows it saves.

    Not before: a resume that is refused leaves the file as it is.

    Args:
        log_dir: folder of metrics.csv.
        first_step: rows of this optimizer step and later ones are dropped: a resumed run writes them again.
        stopped_in: epoch in the middle of which the run was stopped; what was then said of the whole epoch is dropped.
    """

    def __init__(self, log_dir: str, first_step: int, stopped_in: int | None = None) -> None:
        self._first_step, self._stopped_in, self._continued = first_step, stopped_in, False
        super().__init__(log_dir)

    def save(self) -> None:
        """Write the rows that were logged since."""
        if self.metrics and not self._continued:
            self._continue()
            self._continued = True
        super().save()

    def _check_log_dir_exists(self) -> None:
        """Let the file be that is there."""

    def _continue(self) -> None:
        """Keep the earlier rows of the file that is there; a run that was killed may have left half a line."""
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        reader = csv.DictReader(line for line in lines if line.endswith("\n"))
        rows = [row for row in reader if int(row["step"]) < self._first_step and not self._is_of_the_stop(row)]
        self.metrics_keys = list(reader.fieldnames or [])
        if rows:
            self._write(rows)
        else:
            path.unlink()
            self.metrics_keys = []

    def _is_of_the_stop(self, row: dict[str, str]) -> bool:
        """Whether it is what Lightning said of an epoch that goes on."""
        last = str(row.get("epoch")) == str(self._stopped_in) and int(row["step"]) == self._first_step - 1
        return last and any(value for name, value in row.items() if name.startswith(("train_", "val_")))

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with Path(self.metrics_file_path).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        self.metrics_keys = fieldnames
        self._write(rows)

    def _write(self, rows: list[dict[str, str]]) -> None:
        with replacing(self.metrics_file_path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


class MetricsLogger(CSVLogger):
    """Writes ``metrics.csv`` and ``hparams.yaml`` into a run folder itself; a resumed run continues them.

    Args:
        run_folder: where.
        first_step: number of the first optimizer step to come; see ``MetricsWriter``.
        stopped_in: see there too.
    """

    def __init__(self, run_folder: Path, first_step: int = 0, stopped_in: int | None = None) -> None:
        super().__init__(run_folder, name="", version="")
        self._first_step, self._stopped_in = first_step, stopped_in

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsWriter:
        """The writer, made at the first use."""
        if self._experiment is None:
            self._experiment = MetricsWriter(self.log_dir, self._first_step, self._stopped_in)
        return self._experiment  # type: ignore[return-value]


class EventLogger(TensorBoardLogger):
    """TensorBoard events, whose format holds UTF-8 alone: other bytes of file names are written as escapes."""

    @property
    def log_dir(self) -> str:
        """The folder as it was given: Lightning's takes a ``$`` in it for a variable."""
        return str(self.save_dir)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **options: Any) -> None:
        """Log what the run was made with, every key and text as UTF-8."""
        super().log_hyperparams(_utf8(params), *args, **options)


def event_logger(run_folder: Path, first_step: int = 0) -> TensorBoardLogger:
    """A logger that writes TensorBoard events into ``run_folder`` itself; those from ``first_step`` on are hidden."""
    leave_out_tensorflow()
    purge: dict[str, Any] = {"purge_step": first_step} if first_step else {}
    return EventLogger(run_folder, name="", version="", default_hp_metric=False, **purge)


def leave_out_tensorflow() -> None:
    """Call before TensorBoard is imported, which imports TensorFlow wherever that is installed.

    That costs seconds and brings a second LLVM into the process; the module ``tensorboard.compat.notf`` is
    TensorBoard's own switch for using its stub instead.
    """
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))


def _utf8(value: Any) -> Any:
    """``value`` with every text in it, keys too, such that UTF-8 can hold it."""
    if isinstance(value, Mapping):
        return {_utf8(key): _utf8(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_utf8(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
