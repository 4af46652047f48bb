"""Charts as inline SVG: colours come from the page's style sheet, values from tooltips and tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_tl.report.markup import Markup, joined, tag
from lightning_tl.report.measures import Bin

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 36
COLOURS = 8
"""Of runs, in page.css; further runs begin again, with other marks."""
_MARKS = (
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",  # circle
    "M-2.7-2.7h5.4v5.4h-5.4z",  # square
    "M0-3.8 3.8 0 0 3.8-3.8 0z",  # diamond
    "M0-3.7 3.7 2.8-3.7 2.8z",  # triangle
    "M-3-3 3 3M-3 3 3-3",  # cross
)


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: for the tooltip.
        run: number of the run, which decides on colour and mark.
        training: whether it is of the training images: drawn broken.
        points: (x, y), by x.
    """

    name: str
    run: int
    training: bool
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Stretch:
    """A phase on the x axis: its name, and its first and last x."""

    name: str
    first: float
    last: float


def colour(run: int) -> str:
    """The style sheet's class for a run's colour."""
    return f"c{run % COLOURS}"


def mark(run: int) -> Markup:
    """A run's mark for a legend."""
    drawn = tag("path", d=_MARKS[run % len(_MARKS)], class_="mark")
    return tag("svg", drawn, viewBox="-5 -5 10 10", class_=f"key {colour(run)}", aria_hidden="true")


def line_chart(title: str, lines: Sequence[Line], stretches: Sequence[Stretch], top: float | None = None) -> Markup:
    """A chart over epochs, the boundaries between phases drawn.

    Args:
        title: what is shown, for those who do not see it.
        lines: with finite values.
        stretches: the phases, in order; may be empty.
        top: upper end of the y axis; by default a round number above the data.
    """
    xs = sorted({x for line in lines for x, _ in line.points})
    ticks = _ticks([y for line in lines for _, y in line.points], top)
    low, high = ticks[0], ticks[-1]
    inner = WIDTH - LEFT - RIGHT
    step = inner / max(xs[-1] - xs[0] + 1, 1)

    def place(x: float, y: float) -> tuple[float, float]:
        height = HEIGHT - TOP - BOTTOM
        return LEFT + (x - xs[0] + 0.5) * step, TOP + (high - y) / ((high - low) or 1) * height

    parts = [_rows(ticks, low, high)]
    parts += [_stretch(part, xs[0], step, number) for number, part in enumerate(stretches)]
    parts += [_columns(xs, step)]
    parts += [_line(line, [place(x, y) for x, y in line.points]) for line in lines]
    parts += [_band(x, xs, step, lines, stretches) for x in xs]
    return _svg(title, HEIGHT, parts)


def reliability_chart(title: str, bins: Sequence[Bin], run: int) -> Markup:
    """Accuracy of each bin of confidence against the diagonal of a calibrated model; below, images a bin."""
    strip = 54
    side = HEIGHT - TOP - BOTTOM
    width = (WIDTH - LEFT - RIGHT) / len(bins)
    most = max((part.count for part in bins), default=0) or 1
    bottom = HEIGHT + strip - 8
    parts = [_rows([0, 0.25, 0.5, 0.75, 1.0], 0, 1)]
    for number, part in enumerate(bins):
        x = LEFT + number * width
        if part.count:
            height, counted = part.accuracy * side, part.count / most * (strip - 14)
            parts.append(_rect(x + 1, TOP + side - height, width - 2, height, "bar"))
            ideal = TOP + side - part.confidence * side
            parts.append(tag("line", x1=_n(x + 1), x2=_n(x + width - 1), y1=_n(ideal), y2=_n(ideal), class_="ideal"))
            parts.append(_rect(x + 1, bottom - counted, width - 2, counted, "count"))
    parts.append(tag("line", x1=LEFT, y1=TOP + side, x2=WIDTH - RIGHT, y2=TOP, class_="diagonal"))
    for value in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(_text(LEFT + value * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM + 15, f"{value:.1f}", "middle"))
    parts.append(_text(LEFT - 7, bottom, "images", "end"))
    parts.append(_text(WIDTH - RIGHT, TOP - 10, "bars: accuracy; ticks: mean confidence", "end"))
    for number, part in enumerate(bins):
        tip = f"confidence {part.low:.2f} to {part.high:.2f}: {part.count} images"
        if part.count:
            tip += f", mean confidence {part.confidence:.3f}, accuracy {part.accuracy:.3f}"
        parts.append(_hit(LEFT + number * width, width, HEIGHT + strip - TOP - 8, tip, number == 0))
    return _svg(title, HEIGHT + strip, parts, colour(run))


def share_bar(counts: Sequence[int], most: int) -> Markup:
    """A bar of consecutive parts, the longest one ``most`` long."""
    parts, x = [], 0.0
    for number, count in enumerate(counts):
        width = 100 * count / (most or 1)
        parts.append(tag("rect", x=_n(x), y=0, width=_n(width), height=10, class_=f"part{number}"))
        x += width
    return tag("svg", *parts, viewBox="0 0 100 10", preserveAspectRatio="none", class_="sharebar", aria_hidden="true")


def _svg(title: str, height: float, parts: Sequence[Markup], class_: str = "") -> Markup:
    content = joined(tag("title", title), *parts)
    return tag(
        "svg", content, viewBox=f"0 0 {WIDTH} {_n(height)}", class_=f"chart {class_}".strip(), role="group",
        aria_label=title,
    )  # fmt: skip


def _rows(ticks: Sequence[float], low: float, high: float) -> Markup:
    """Horizontal lines with their values."""
    parts = []
    for value in ticks:
        y = TOP + (high - value) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=_n(y), y2=_n(y), class_="rule"))
        parts.append(_text(LEFT - 7, y + 3.5, f"{value:.4g}", "end"))
    return joined(*parts)


def _columns(xs: Sequence[float], step: float) -> Markup:
    """Numbers of epochs below, as many as there is room for."""
    every = max(math.ceil(len(xs) / 12), 1)
    y = HEIGHT - BOTTOM + 15
    numbers = [_text(LEFT + (x - xs[0] + 0.5) * step, y, f"{x:g}", "middle") for x in xs[::every]]
    return joined(*numbers, _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 5, "epoch", "middle"))


def _stretch(part: Stretch, first: float, step: float, number: int) -> Markup:
    """A phase's name above the chart and, unless it is the first, the line where it begins."""
    begin = LEFT + (part.first - first) * step
    width = (part.last - part.first + 1) * step
    room = max(int(width / 5.6), 1)
    name = part.name if len(part.name) <= room else part.name[: max(room - 1, 0)] + "…"
    label = _text(begin + width / 2, TOP - 10, name, "middle", "phase")
    if not number:
        return label
    return joined(tag("line", x1=_n(begin), x2=_n(begin), y1=TOP - 20, y2=HEIGHT - BOTTOM, class_="boundary"), label)


def _line(line: Line, places: Sequence[tuple[float, float]]) -> Markup:
    path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in places)
    kind = "training" if line.training else "held-out"
    drawn = [tag("path", d=path, class_="curve")]
    if not line.training and len(places) <= 40:
        shape = _MARKS[line.run % len(_MARKS)]
        drawn += [tag("path", d=shape, transform=f"translate({_n(x)} {_n(y)})", class_="mark") for x, y in places]
    return tag("g", *drawn, class_=f"{kind} {colour(line.run)}")


def _band(x: float, xs: Sequence[float], step: float, lines: Sequence[Line], stretches: Sequence[Stretch]) -> Markup:
    """What the tooltip of an epoch says, over the chart's whole height."""
    values = [f"{line.name} {y:.4f}" for line in lines for at, y in line.points if at == x]
    phase = next((f" ({part.name})" for part in stretches if part.first <= x <= part.last), "")
    return _hit(
        LEFT + (x - xs[0]) * step, step, HEIGHT - TOP - BOTTOM, f"epoch {x:g}{phase}\n" + "\n".join(values), x == xs[0]
    )


def _hit(x: float, width: float, height: float, tip: str, first: bool) -> Markup:
    """A place that shows a tooltip under the pointer or the keyboard's focus; arrow keys go on to the next."""
    return tag(
        "rect", x=_n(x), y=TOP, width=_n(width), height=_n(height), class_="hit", tabindex=0 if first else -1,
        role="img", aria_label=tip.replace("\n", "; "), data_tip=tip,
    )  # fmt: skip


def _rect(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    return tag("rect", x=_n(x), y=_n(y), width=_n(max(width, 0)), height=_n(height), class_=class_)


def _text(x: float, y: float, text: str, anchor: str, class_: str = "label") -> Markup:
    return tag("text", text, x=_n(x), y=_n(y), text_anchor=anchor, class_=class_)


def _ticks(values: Sequence[float], top: float | None) -> list[float]:
    """Four to six round numbers that enclose the values."""
    low, high = min(values), max(values) if top is None else top
    span = (high - low) or abs(high) or 1.0
    size = 10 ** math.floor(math.log10(span / 4))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if span / (size * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
