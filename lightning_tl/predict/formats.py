"""Which format a file gets, and whether it can be had."""

from collections.abc import Sequence
from pathlib import Path

from lightning_tl.errors import InputError
from lightning_tl.predict.parquet import Parquet
from lightning_tl.predict.rows import Format
from lightning_tl.predict.text_formats import Csv, JsonLines

FORMATS: dict[str, type[Format]] = {".csv": Csv, ".jsonl": JsonLines, ".parquet": Parquet}
"""By the suffix of the file."""


def format_of(output: str) -> type[Format]:
    """The format that the name of the output asks for; ``-``, standard output, gets JSON lines.

    Raises:
        InputError: no known suffix.
    """
    suffix = ".jsonl" if output == "-" else Path(output).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"output: the suffix says how predictions are written: {', '.join(FORMATS)}. Received: {output!r}."
        )
    return FORMATS[suffix]


def make_format(output: str, classes: Sequence[str], top_k: int) -> Format:
    """The format of ``output``, for these classes.

    Raises:
        InputError: no known suffix, fewer classes than ``top_k``, or the format's package is missing.
    """
    kind = format_of(output)
    if not 0 <= top_k <= len(classes):
        raise InputError(
            f"top_k: the model knows {len(classes)} classes; give a number up to that, or 0 for all in label order. "
            f"Received: {top_k}."
        )
    return kind(classes, top_k)
