"""CSV and JSON lines, each row by itself."""

import csv
import io
import json
import math
import shutil
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lightning_tl.predict.names import escaped
from lightning_tl.predict.rows import DIGITS, Format, Rows
from lightning_tl.table import ESCAPE, guarded


class TextFormat(Format):
    """A format of lines: chunks are joined by putting them one behind the other."""

    @abstractmethod
    def header(self) -> bytes:
        """What a file begins with."""

    def join(self, chunks: Iterable[Path], target: Path) -> None:
        """The header, then the chunks."""
        join_files(self.header(), chunks, target)


class Csv(TextFormat):
    """``path,predicted,probability``, then a column of probability a class, or the classes that come next.

    Bytes of names that are no UTF-8 are written as they are; a name that a spreadsheet would run as a formula gets an
    apostrophe before it, as does one that begins with an apostrophe: ``cell.removeprefix("'")``.
    """

    def header(self) -> bytes:
        """Names of the columns."""
        places = range(2, self.top_k + 1)
        rest = chain.from_iterable((f"predicted_{place}", f"probability_{place}") for place in places)
        each = (f"probability_{name}" for name in self.classes)
        return csv_line(["path", "predicted", "probability", *(rest if self.top_k else each)])

    def add(self, file: Any, rows: Rows) -> None:
        """One line an image."""
        file.writelines(map(csv_line, self._top(rows) if self.top_k else self._all(rows)))

    def _all(self, rows: Rows) -> Iterable[list[str]]:
        for path, label, values in zip(rows.paths, rows.predicted, rows.probabilities.tolist(), strict=True):
            numbers = [format(value, DIGITS) for value in values]
            yield [guarded(path), guarded(self.classes[label]), numbers[label], *numbers]

    def _top(self, rows: Rows) -> Iterable[list[str]]:
        ranked = rows.ranked(self.top_k)
        for path, labels, values in zip(rows.paths, ranked, rows.probabilities, strict=True):
            pairs = ((guarded(self.classes[label]), format(float(values[label]), DIGITS)) for label in labels)
            yield [guarded(path), *chain.from_iterable(pairs)]


class JsonLines(TextFormat):
    """An object a line: ``path``, ``predicted``, ``probability``; and ``probabilities``, or the list ``top``.

    Lines are ASCII. Names are ``escaped``. A probability that is no number (of a broken model) is null.
    """

    def header(self) -> bytes:
        """None."""
        return b""

    def add(self, file: Any, rows: Rows) -> None:
        """One object an image."""
        names = [escaped(name) for name in self.classes]
        ranked = rows.ranked(self.top_k) if self.top_k else [()] * len(rows.paths)
        for path, label, top, row in zip(rows.paths, rows.predicted, ranked, rows.probabilities.tolist(), strict=True):
            values = [_number(value) for value in row]
            record = {"path": escaped(path), "predicted": names[label], "probability": values[label]}
            if self.top_k:
                record["top"] = [{"class": names[each], "probability": values[each]} for each in top]
            else:
                record["probabilities"] = dict(zip(names, values, strict=True))
            file.write(json.dumps(record, allow_nan=False).encode("ascii") + b"\n")


def csv_line(cells: Sequence[str]) -> bytes:
    """One row. Before Python 3.13 csv leaves a lone carriage return unquoted, and reads it as the end of a row."""
    line = io.StringIO()
    quoted = any("\r" in cell for cell in cells)
    csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL).writerow(cells)
    return line.getvalue().encode("utf-8", errors=ESCAPE)


def join_files(header: bytes, parts: Iterable[Path], target: Path) -> None:
    """Write the header and then every part into ``target``."""
    with target.open("wb") as whole:
        whole.write(header)
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)


def _number(value: float) -> float | None:
    """With as many digits as float32 has."""
    return float(format(value, DIGITS)) if math.isfinite(value) else None
