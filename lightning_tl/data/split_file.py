"""The split file: a CSV that says which image is in which split, under which label."""

import csv
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath, PurePosixPath

from lightning_tl.data.folder import SPLITS, Sample, listed
from lightning_tl.errors import InputError
from lightning_tl.table import ESCAPE, write_table

HEADER = ["split", "path", "label"]


def write_split(path: str | Path, samples: Iterable[Sample]) -> None:
    """Write samples as a CSV with the header ``split,path,label``, whole or not at all; row order is kept.

    Any file name that the system can have survives.

    Raises:
        OSError: the file cannot be written.
    """
    write_table(path, [HEADER, *([sample.split, sample.path, sample.label] for sample in samples)])


def read_split(path: str | Path, root: str | Path | None) -> tuple[Sample, ...]:
    """Read what ``write_split`` wrote, or any CSV like it.

    Args:
        path: of the CSV.
        root: folder that the paths are relative to; None leaves their existence unchecked.

    Returns:
        One sample per row, in the file's order.

    Raises:
        InputError: the file is missing or no such CSV; a split is none of train, val, test; a path leaves the
            root, occurs twice or does not exist.
    """
    rows = _rows(Path(path))
    if not rows or rows[0] != HEADER:
        raise InputError(
            f"Split file {str(path)!r} must begin with the header {','.join(HEADER)}. "
            f"Received: {','.join(rows[0]) if rows else 'an empty file'!r}."
        )
    samples = tuple(_sample(path, number, row) for number, row in enumerate(rows[1:], start=2))
    _check_unique(path, samples)
    if root is not None:
        _check_exist(path, samples, Path(root))
    return samples


def _rows(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise InputError(
            f"Split file {str(path)!r} does not exist. Set data.split to stratified, keras or an existing CSV file."
        )
    try:
        with path.open(encoding="utf-8-sig", errors=ESCAPE, newline="") as file:  # -sig: Excel puts a BOM first
            return [row for row in csv.reader(file, strict=True) if row]
    except csv.Error as error:
        raise InputError(f"Split file {str(path)!r} is no valid CSV: {error}.") from error


def _sample(path: str | Path, number: int, row: list[str]) -> Sample:
    """One row, checked by itself."""
    where = f"Split file {str(path)!r}, row {number}"
    if len(row) != len(HEADER):
        raise InputError(f"{where}: expected {len(HEADER)} fields ({', '.join(HEADER)}). Received: {len(row)}.")
    sample = Sample(*row)
    if sample.split not in SPLITS:
        raise InputError(f"{where}: split must be one of {', '.join(SPLITS)}. Received: {sample.split!r}.")
    if not sample.label:
        raise InputError(f"{where}: the label is empty.")
    if ".." in PurePath(sample.path).parts or PurePosixPath(sample.path).is_absolute() or PurePath(sample.path).drive:
        raise InputError(f"{where}: paths are relative to data.root and stay below it. Received: {sample.path!r}.")
    return sample


def _check_unique(path: str | Path, samples: Sequence[Sample]) -> None:
    counts = Counter(posixpath.normpath(sample.path) for sample in samples)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"Split file {str(path)!r} lists images more than once: {listed(repeated)}.")


def _check_exist(path: str | Path, samples: Sequence[Sample], root: Path) -> None:
    if missing := [sample.path for sample in samples if not (root / sample.path).is_file()]:
        advice = "Give the root that the file was made for;"
        if len(missing) < len(samples):
            advice = "Put them back under these names, or give a copy of the file without their rows as data.split;"
        raise InputError(
            f"Split file {str(path)!r} lists {len(missing)} of {len(samples)} images that do not exist under "
            f"data.root {str(root)!r}: {listed(missing)}. {advice} "
            "validate and test measure every image of the root with data.split all."
        )
