"""The run folder's CSV files: predictions, split and metrics, back from how they are written."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.errors import InputError
from lightning_tl.table import ESCAPE

PREDICTIONS = ("split", "path", "label", "predicted")
SPLIT = ("split", "path", "label")
PREFIX = "probability_"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run says of one image.

    Attributes:
        split: val or test.
        path: relative to the data's root.
        label: true class.
        predicted: class with the highest probability.
        confidence: probability of the predicted class, [0, 1]; 0 where a run that diverged has none.
        of_truth: probability of the true class, likewise.
    """

    split: str
    path: str
    label: str
    predicted: str
    confidence: float
    of_truth: float

    @property
    def hit(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.predicted == self.label


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch; those that were not logged are absent.

    Attributes:
        number: from 0, over all phases.
        values: by name, such as train_loss or val_accuracy.
    """

    number: int
    values: dict[str, float]


def read_predictions(path: Path, classes: tuple[str, ...]) -> tuple[Prediction, ...]:
    """Read predictions.csv of a run that knows these classes.

    Raises:
        InputError: the file is missing, is no such CSV, or speaks of other classes.
    """
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    if header != [*PREDICTIONS, *(PREFIX + name for name in classes)]:
        raise InputError(
            f"{str(path)!r} must begin with {','.join(PREDICTIONS)} and one column {PREFIX}<class> for each class of "
            f"results.json. Received: {','.join(header)[:200]!r}. Give a run folder that fit has written."
        )
    column = {name: len(PREDICTIONS) + position for position, name in enumerate(classes)}
    return tuple(_prediction(f"{str(path)!r}, line {line}", row, column) for line, row in rows)


def read_split(path: Path) -> tuple[tuple[str, str, str], ...] | None:
    """(split, path, label) of each row of split.csv, in order; None where there is no such file.

    Raises:
        InputError: it is no such CSV.
    """
    if not path.is_file():
        return None
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    if header != list(SPLIT):
        raise InputError(f"{str(path)!r} must begin with {','.join(SPLIT)}. Received: {','.join(header)[:200]!r}.")
    return tuple((row[0], row[1], row[2]) for _, row in rows if len(row) == len(SPLIT))


def read_metrics(path: Path) -> tuple[Epoch, ...]:
    """Metrics of each epoch from metrics.csv, where training and validation may stand in rows of their own.

    The last value of an epoch counts. Values that are no finite numbers (a run that diverged) are left out, and so are
    rows without an epoch, such as ``LearningRateMonitor`` logs. Empty where there is no such file.

    Raises:
        InputError: it is no such CSV.
    """
    if not path.is_file():
        return ()
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    if "epoch" not in header:
        raise InputError(f"{str(path)!r} needs a column epoch. Received: {','.join(header)[:200]!r}.")
    epochs: dict[int, dict[str, float]] = {}
    for line, row in rows:
        cells = {name: cell for name, cell in zip(header, row, strict=False) if cell}
        if "epoch" not in cells:
            continue
        where = f"{str(path)!r}, line {line}"
        numbers = {name: _number(where, cell) for name, cell in cells.items() if name.startswith(("train_", "val_"))}
        epoch = _number(where, cells["epoch"])
        if not math.isfinite(epoch):
            raise InputError(f"{where}: epoch must be a number. Received: {cells['epoch']!r}.")
        known = epochs.setdefault(int(epoch), {})
        known.update({name: value for name, value in numbers.items() if math.isfinite(value)})
    return tuple(Epoch(number, epochs[number]) for number in sorted(epochs))


def _prediction(where: str, row: list[str], column: dict[str, int]) -> Prediction:
    if len(row) != len(PREDICTIONS) + len(column):
        raise InputError(f"{where}: expected {len(PREDICTIONS) + len(column)} fields. Received: {len(row)}.")
    split, path, label, predicted = (cell.removeprefix("'") for cell in row[: len(PREDICTIONS)])
    for name in (label, predicted):
        if name not in column:
            raise InputError(f"{where}: results.json knows no class {name!r}. Give a run folder that fit has written.")
    values = [_number(where, row[column[name]]) for name in (predicted, label)]
    values = [0.0 if math.isnan(value) else value for value in values]  # of a run that diverged
    if not all(0 <= value <= 1 + 1e-6 for value in values):  # 1e-6: rounding of a float32 softmax
        raise InputError(f"{where}: probabilities are in [0, 1]. Received: {values[0]}, {values[1]}.")
    return Prediction(split, path, label, predicted, *(min(value, 1.0) for value in values))


def _number(where: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise InputError(f"{where}: a number is needed. Received: {cell[:80]!r}.") from error


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row that is not empty, one at a time."""
    try:
        with path.open(encoding="utf-8-sig", errors=ESCAPE, newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be read: {error.strerror}. Give a run folder that fit has written."
        ) from error
    except csv.Error as error:
        raise InputError(f"{str(path)!r} is no valid CSV: {error}.") from error
