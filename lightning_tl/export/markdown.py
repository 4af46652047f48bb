"""Text of strangers in Markdown: it is shown as it is and means nothing."""

import re
from collections.abc import Sequence

from lightning_tl.errors import printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#!|&~$:@^]|(?<=www)\.)", re.IGNORECASE)
"""What begins something within a line: any punctuation may have a backslash before it
(https://spec.commonmark.org/0.31.2/#backslash-escapes); a colon, an at sign and the dot of www make links on GitHub."""


def escaped(text: str) -> str:
    """``text`` as Markdown that renders as its characters, within a line that begins with something else.

    Control characters and bytes that are no UTF-8 become Python's escapes, as in the program's messages; no HTML,
    link, picture, emphasis, code or end of a table cell can come of it.
    """
    visible = printable(text).replace("\n", "\\n")
    return _keep_spaces(_SPECIAL.sub(r"\\\1", visible))


def _keep_spaces(text: str) -> str:
    """Spaces that Markdown would drop, at both ends and in rows, as entities."""
    inner = re.sub(r"(?<= ) ", "&#32;", text)
    inner = re.sub(r"^ ", "&#32;", inner)
    return re.sub(r" $", "&#32;", inner)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
