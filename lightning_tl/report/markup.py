"""HTML and SVG by functions: whatever is no markup already is text, and is escaped."""

import html
import json
from collections.abc import Mapping
from typing import Any


class Markup(str):
    """Text that is HTML. Everything else that goes into ``tag`` is escaped."""

    __slots__ = ()


Content = str | int | None
"""What an element holds: markup as it is, text escaped, None nothing."""
Value = str | int | float | bool | None
"""Of an attribute."""


def tag(element: str, *content: Content, **attributes: Value) -> Markup:
    """One element with its content and attributes.

    Args:
        element: its name, such as ``td``.
        content: markup as it is, anything else as text.
        attributes: a trailing underscore is dropped and others become hyphens (``class_``, ``data_tip``); None and
            False leave the attribute out, True gives it no value.
    """
    return Markup(f"<{element}{_attributes(attributes)}>{joined(*content)}</{element}>")


def void(element: str, **attributes: Value) -> Markup:
    """One element that has no content, such as ``img``; attributes as for ``tag``."""
    return Markup(f"<{element}{_attributes(attributes)}>")


def joined(*content: Content) -> Markup:
    """Markup of several pieces, one after the other."""
    return Markup(
        "".join(part if isinstance(part, Markup) else html.escape(str(part)) for part in content if part is not None)
    )


def shown(name: str) -> str:
    """``name`` as people can read it: control characters, directions of writing and bytes that are no UTF-8 as escapes.

    A name can then neither break a line nor reorder the text around it.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def as_json(value: Any) -> Markup:
    """``value`` as JSON that can stand inside ``<script type="application/json">``: no character of it is markup."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _attributes(given: Mapping[str, Value]) -> str:
    return "".join(_attribute(name, value) for name, value in given.items() if value is not None and value is not False)


def _attribute(name: str, value: Value) -> str:
    name = name.removesuffix("_") if name.endswith("_") else name.replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
