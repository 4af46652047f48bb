"""Pieces of SVG that charts are drawn from; all charts have one width, one plot area and one look."""

import math
from collections.abc import Sequence

from lightning_tl.report.markup import Markup, joined, tag

WIDTH, HEIGHT = 440, 270
"""Of a chart, in SVG's units: about a pixel on a phone, more on a wide page."""
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 36
"""Margins around the plot area."""


def picture(title: str, height: float, parts: Sequence[Markup], class_: str = "") -> Markup:
    """A whole chart; ``title`` is for those who do not see it."""
    look = f"chart {class_}".strip()
    box = f"0 0 {WIDTH} {coordinate(height)}"
    return tag("svg", tag("title", title), *parts, viewBox=box, class_=look, role="group", aria_label=title)


def rules(values: Sequence[float]) -> Markup:
    """Horizontal lines with their values; the first and the last bound the plot area."""
    parts = []
    low, high = values[0], values[-1]
    for value in values:
        y = TOP + (high - value) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)
        parts.append(line((LEFT, y), (WIDTH - RIGHT, y), "rule"))
        parts.append(label(LEFT - 7, y + 3.5, f"{value:.4g}", "end"))
    return joined(*parts)


def hit(x: float, width: float, height: float, tip: str, first: bool) -> Markup:
    """A place that shows a tooltip under the pointer or the keyboard's focus; arrow keys go on to the next."""
    return tag(
        "rect", x=coordinate(x), y=TOP, width=coordinate(width), height=coordinate(height), class_="hit",
        tabindex=0 if first else -1, role="img", aria_label=tip.replace("\n", "; "), data_tip=tip,
    )  # fmt: skip


def rectangle(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    """A rectangle of a class of the style sheet."""
    sides = {"x": x, "y": y, "width": max(width, 0), "height": max(height, 0)}
    return tag("rect", class_=class_, **{name: coordinate(value) for name, value in sides.items()})


def line(start: tuple[float, float], end: tuple[float, float], class_: str) -> Markup:
    """A straight line of a class of the style sheet."""
    ends = {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]}
    return tag("line", class_=class_, **{name: coordinate(value) for name, value in ends.items()})


def label(x: float, y: float, text: str, anchor: str, class_: str = "label") -> Markup:
    """Text; ``anchor`` is start, middle or end."""
    return tag("text", text, x=coordinate(x), y=coordinate(y), text_anchor=anchor, class_=class_)


def ticks(values: Sequence[float], top: float | None) -> list[float]:
    """Two to seven round numbers that enclose the values, up to ``top`` if given."""
    low, high = min(values), max(values) if top is None else top
    span = (high - low) or abs(high) or 1.0
    size = 10 ** math.floor(math.log10(span / 4))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if span / (size * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:  # nothing lies beyond the top of a share
        first, last = (first, last + 1) if top is None else (first - 1, last)
    return [number * step for number in range(first, last + 1)]


def coordinate(value: float) -> str:
    """A number to a hundredth, without needless zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
