"""The same rows in every format, with names as bad as a file system allows."""

import csv
import io
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from lightning_tl.errors import InputError
from lightning_tl.predict.formats import make_format
from lightning_tl.predict.names import unescaped
from lightning_tl.predict.rows import Rows

NOT_UTF8 = os.fsdecode(b"caf\xe9")
CLASSES = ["=1+1", NOT_UTF8, '"q", <b>\'', "new\nline\r\u2028", "a\\xe9", "'"]
PATHS = ["@SUM(A1).jpg", os.fsdecode(b"\xff/\xfe\n.jpg"), '\r,".jpg', "'x.jpg", "..%2f\\..\\.jpg", "a.jpg", "日本.jpg"]
VALUES = np.random.default_rng(0).dirichlet(np.ones(len(CLASSES)), len(PATHS)).astype(np.float32)
VALUES[2] = VALUES[2, 0]  # all the same: the first is named
CHUNKS = [slice(0, 3), slice(3, 3), slice(3, 7)]


def written(folder: Path, output: str, top_k: int, values: np.ndarray = VALUES) -> Path:
    """A file of three chunks, each written in two steps and the second empty."""
    form = pickle.loads(pickle.dumps(make_format(output, CLASSES, top_k)))
    chunks = []
    for number, part in enumerate(CHUNKS):
        chunks.append(folder / str(number))
        with chunks[-1].open("wb") as file:
            middle = (part.start + part.stop) // 2
            for step in (slice(part.start, middle), slice(middle, part.stop)):
                form.add(file, Rows(PATHS[step], values[step]))
            form.end(file)
    form.join(chunks, folder / output)
    return folder / output


def cells(path: Path) -> list[list[str]]:
    """As any reader of CSV sees them, without apostrophes before names."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file, strict=True))


def best(row: np.ndarray, count: int) -> list[int]:
    return sorted(range(len(CLASSES)), key=lambda label: (-row[label], label))[:count]


def test_csv_of_all_classes(tmp_path: Path) -> None:
    header, *rows = cells(written(tmp_path, "x.csv", 0))
    assert header == ["path", "predicted", "probability", *(f"probability_{name}" for name in CLASSES)]
    assert [row[0].removeprefix("'") for row in rows] == PATHS
    assert [row[1].removeprefix("'") for row in rows] == [CLASSES[label] for label in VALUES.argmax(axis=1)]
    np.testing.assert_array_equal(np.array([row[3:] for row in rows], dtype=np.float32), VALUES)
    assert [row[2] for row in rows] == [row[3 + label] for row, label in zip(rows, VALUES.argmax(axis=1), strict=True)]
    assert not [cell for row in rows for cell in row[:2] if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


def test_csv_of_the_best(tmp_path: Path) -> None:
    header, *rows = cells(written(tmp_path, "x.csv", 3))
    assert header == [
        "path", "predicted", "probability", "predicted_2", "probability_2", "predicted_3", "probability_3",
    ]  # fmt: skip
    for row, path, values in zip(rows, PATHS, VALUES, strict=True):
        assert row[0].removeprefix("'") == path
        assert [name.removeprefix("'") for name in row[1::2]] == [CLASSES[label] for label in best(values, 3)]
        assert [np.float32(value) for value in row[2::2]] == [values[label] for label in best(values, 3)]


@pytest.mark.parametrize("top_k", [0, 1, 4])
def test_json_lines_and_parquet_say_the_same(tmp_path: Path, top_k: int) -> None:
    raw = written(tmp_path, "x.jsonl", top_k).read_bytes()
    assert raw.isascii()
    lines = [json.loads(line) for line in raw.decode("ascii").splitlines()]
    table = pyarrow.parquet.read_table(written(tmp_path, "x.parquet", top_k))
    for line, row, path, values in zip(lines, table.to_pylist(), PATHS, VALUES, strict=True):
        labels = best(values, top_k or len(CLASSES))
        assert unescaped(line["path"]) == unescaped(row["path"]) == path
        assert unescaped(line["predicted"]) == unescaped(row["predicted"]) == CLASSES[labels[0]]
        assert np.float32(line["probability"]) == np.float32(row["probability"]) == values.max()
        for record in (line, row):
            assert pairs(record, top_k) == {CLASSES[label]: values[label] for label in labels}
        assert list(pairs(line, top_k)) == ([CLASSES[label] for label in labels] if top_k else CLASSES)
    assert pyarrow.parquet.ParquetFile(tmp_path / "x.parquet").num_row_groups == 2, "one for each chunk with rows"


def pairs(record: dict[str, Any], top_k: int) -> dict[str, np.float32]:
    """Class and probability in a line of JSON or a row of Parquet."""
    if top_k:
        return {unescaped(each["class"]): np.float32(each["probability"]) for each in record["top"]}
    found = record.get("probabilities") or {
        key.removeprefix("probability_"): value for key, value in record.items() if key.startswith("probability_")
    }
    return {unescaped(name): np.float32(value) for name, value in found.items()}


def test_no_row_at_all(tmp_path: Path) -> None:
    form = make_format("x.parquet", CLASSES, 0)
    form.join([], tmp_path / "x.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").num_columns == 3 + len(CLASSES)
    make_format("x.csv", CLASSES, 1).join([], tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "path,predicted,probability\n"


def test_a_model_that_gives_no_numbers_gives_valid_json(tmp_path: Path) -> None:
    raw = written(tmp_path, "x.jsonl", 2, np.full_like(VALUES, np.nan)).read_text()
    assert "NaN" not in raw
    assert json.loads(raw.splitlines()[0])["probability"] is None


@pytest.mark.parametrize("name", ["x.txt", "x", "csv", "x.csv.gz"])
def test_an_unknown_suffix(name: str) -> None:
    with pytest.raises(InputError, match=r"output: the suffix says .*\.csv, \.jsonl, \.parquet\. Received: '" + name):
        make_format(name, CLASSES, 0)


@pytest.mark.parametrize("top_k", [-1, 7])
def test_more_classes_than_there_are(top_k: int) -> None:
    with pytest.raises(InputError, match=f"top_k: the model knows 6 classes; .* Received: {top_k}"):
        make_format("x.CSV", CLASSES, top_k)


def test_parquet_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"output: .parquet needs the package pyarrow, .*pip install pyarrow"):
        make_format("x.parquet", CLASSES, 0)


def test_a_line_of_json_is_written_at_once() -> None:
    file = io.BytesIO()
    make_format("-", ["a", "b"], 1).add(file, Rows(["x.jpg"], np.array([[0.25, 0.75]], dtype=np.float32)))
    assert json.loads(file.getvalue()) == {
        "path": "x.jpg", "predicted": "b", "probability": 0.75, "top": [{"class": "b", "probability": 0.75}],
    }  # fmt: skip
