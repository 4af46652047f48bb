"""Parquet, a row group a chunk; needs pyarrow."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightning_tl.errors import InputError
from lightning_tl.predict.names import escaped
from lightning_tl.predict.rows import Format, Rows


class Parquet(Format):
    """Columns ``path``, ``predicted``, ``probability``; and a ``probability_<class>`` each, or a list column ``top``.

    Names are ``escaped``; probabilities are float32. ``top`` holds structs of ``class`` and ``probability``.

    Raises:
        InputError: pyarrow is not installed.
    """

    def __init__(self, classes: Sequence[str], top_k: int) -> None:
        super().__init__(classes, top_k)
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise InputError(
                "output: .parquet needs the package pyarrow, which is not installed "
                "(pip install pyarrow). Install it, or write .csv or .jsonl."
            ) from error
        self._arrow, self._parquet = pyarrow, pyarrow.parquet
        self._names = [escaped(name) for name in self.classes]
        self._kept: list[Rows] = []

    def __getstate__(self) -> dict[str, Any]:
        """Without the modules, which cannot be pickled."""
        return {"classes": self.classes, "top_k": self.top_k}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Parquet.__init__(self, **state)

    @property
    def schema(self) -> Any:
        """Of every chunk and the whole."""
        text, number = self._arrow.string(), self._arrow.float32()
        pair = self._arrow.struct([("class", text), ("probability", number)])
        each = [(f"probability_{name}", number) for name in self._names]
        fields = [("path", text), ("predicted", text), ("probability", number)]
        return self._arrow.schema(fields + ([("top", self._arrow.list_(pair))] if self.top_k else each))

    def add(self, file: Any, rows: Rows) -> None:
        """Keep them: a row group is written at once."""
        self._kept.append(rows)

    def end(self, file: Any) -> None:
        """Write the chunk's rows as one row group."""
        kept, self._kept = self._kept, []
        with self._parquet.ParquetWriter(file, self.schema) as writer:
            if kept:
                values = np.concatenate([rows.probabilities for rows in kept])
                writer.write_table(self._table(Rows([path for rows in kept for path in rows.paths], values)))

    def join(self, chunks: Iterable[Path], target: Path) -> None:
        """Row group by row group."""
        with target.open("wb") as whole, self._parquet.ParquetWriter(whole, self.schema) as writer:
            for chunk in chunks:
                with chunk.open("rb") as file:  # not by name, which need not be UTF-8
                    table = self._parquet.read_table(file)
                if table.num_rows:
                    writer.write_table(table)

    def _table(self, rows: Rows) -> Any:
        values, labels = rows.probabilities, rows.predicted
        columns: list[Any] = [
            [escaped(path) for path in rows.paths],
            [self._names[label] for label in labels],
            values[np.arange(len(labels)), labels],
        ]
        columns += [self._top(rows)] if self.top_k else list(values.T)
        arrays = [self._arrow.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        return self._arrow.Table.from_arrays(arrays, schema=self.schema)

    def _top(self, rows: Rows) -> list[list[dict[str, Any]]]:
        ranked = zip(rows.ranked(self.top_k), rows.probabilities, strict=True)
        return [
            [{"class": self._names[label], "probability": row[label]} for label in labels] for labels, row in ranked
        ]
