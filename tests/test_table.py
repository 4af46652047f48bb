"""CSV files of names, as both sides write them."""

import csv
from pathlib import Path
from types import ModuleType

import pytest

import keras_ref.table
import lightning_tl.table

NAMES = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "'", "''", "", "a=b", "a,b", 'a"b', "caf\udce9"]
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@pytest.mark.parametrize("table", [lightning_tl.table, keras_ref.table])
def test_cells_start_no_formula_and_come_back(table: ModuleType, tmp_path: Path) -> None:
    table.write_table(tmp_path / "t.csv", [["name", "again"], *([table.guarded(name), "x"] for name in NAMES)])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["name", "again"]
    assert not [cell for row in rows for cell in row if cell.startswith(FORMULA)]
    assert [row[0].removeprefix("'") for row in rows] == NAMES
    assert {row[1] for row in rows} == {"x"}
