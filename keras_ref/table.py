"""CSV files of names: whatever the file system allows comes back, and no spreadsheet runs a ``guarded`` cell."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_ref.files import replacing

ESCAPE = "surrogateescape"
"""How names that are no UTF-8 come from the file system as text, and go back to the same bytes."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that spreadsheets run or fetch from (https://owasp.org/www-community/attacks/CSV_Injection)."""
_GUARD = "'"
"""What spreadsheets read as "text follows"."""


def guarded(text: str) -> str:
    """``text`` as a cell that a spreadsheet shows and does not run: a leading apostrophe where it could.

    Text that begins with an apostrophe gets one too, so that ``cell.removeprefix("'")`` gives every text back.
    """
    return _GUARD + text if text.startswith((*_FORMULA, _GUARD)) else text


def write_table(path: str | Path, rows: Iterable[Sequence[str]]) -> None:
    """Write rows of text as a CSV, whole or not at all.

    Quotes, commas and line breaks survive by quoting, bytes that are no UTF-8 (``surrogateescape``) as they are.

    Raises:
        OSError: the file cannot be written.
    """
    rows = list(rows)
    # Before Python 3.13 csv leaves a lone \r unquoted and reads it back as the end of a row.
    quoted = any("\r" in cell for row in rows for cell in row)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors=ESCAPE, newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
        writer.writerows(rows)
