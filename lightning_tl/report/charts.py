"""Charts as inline SVG: colours come from the page's style sheet, values from tooltips and tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lightning_tl.report import svg
from lightning_tl.report.markup import Markup, joined, tag
from lightning_tl.report.measures import Bin
from lightning_tl.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, coordinate

COLOURS = 8
"""Of runs, in page.css; further runs begin again, with other marks."""
MARKED = 40
"""Epochs: on longer lines marks would hide the line."""
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
    ticks = svg.ticks([y for line in lines for _, y in line.points], top)
    first, step = xs[0], (WIDTH - LEFT - RIGHT) / (xs[-1] - xs[0] + 1)
    scale = (HEIGHT - TOP - BOTTOM) / (ticks[-1] - ticks[0])

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return LEFT + (point[0] - first + 0.5) * step, TOP + (ticks[-1] - point[1]) * scale

    parts = [svg.rules(ticks), _columns(xs, step)]
    parts += [_stretch(part, first, step, number) for number, part in enumerate(stretches) if part.last >= first]
    parts += [_line(line, [place(point) for point in line.points]) for line in lines]
    gap = min((later - x for x, later in pairwise(xs)), default=1)
    for x in xs:
        left = LEFT + (x - first + 0.5 - gap / 2) * step
        parts.append(svg.hit(left, gap * step, HEIGHT - TOP - BOTTOM, _values(x, lines, stretches), x == first))
    return svg.picture(title, HEIGHT, parts)


def reliability_chart(title: str, bins: Sequence[Bin], run: int) -> Markup:
    """Accuracy of each bin of confidence against the diagonal of a calibrated model; below, images a bin."""
    side, width = HEIGHT - TOP - BOTTOM, (WIDTH - LEFT - RIGHT) / len(bins)
    bottom, room = HEIGHT + 46, 40
    most = max(part.count for part in bins) or 1
    parts = [svg.rules([0, 0.25, 0.5, 0.75, 1])]
    for number, part in enumerate(bins):
        left, right = LEFT + number * width + 1, LEFT + (number + 1) * width - 1
        if part.count:
            ideal, counted = TOP + side * (1 - part.confidence), part.count / most * room
            height = part.accuracy * side
            parts.append(svg.rectangle(left, TOP + side - height, right - left, height, "bar"))
            parts.append(svg.line((left, ideal), (right, ideal), "ideal"))
            parts.append(svg.rectangle(left, bottom - counted, right - left, counted, "count"))
    parts.append(svg.line((LEFT, TOP + side), (WIDTH - RIGHT, TOP), "diagonal"))
    for value in (0, 0.2, 0.4, 0.6, 0.8, 1):
        x = LEFT + value * (WIDTH - LEFT - RIGHT)
        parts.append(svg.label(x, HEIGHT - BOTTOM + 15, f"{value:.1f}", "middle"))
    parts.append(svg.label(LEFT - 7, bottom, "images", "end"))
    parts.append(svg.label(WIDTH - RIGHT, TOP - 10, "bars: accuracy; ticks: mean confidence", "end"))
    for number, part in enumerate(bins):
        parts.append(svg.hit(LEFT + number * width, width, bottom - TOP, _told(part), number == 0))
    return svg.picture(title, bottom + 4, parts, colour(run))


def share_bar(counts: Sequence[int], most: int) -> Markup:
    """A bar of consecutive parts, the longest one ``most`` long."""
    parts, x = [], 0.0
    for number, count in enumerate(counts):
        width = 100 * count / (most or 1)
        parts.append(svg.rectangle(x, 0, width, 10, f"part{number}"))
        x += width
    return tag("svg", *parts, viewBox="0 0 100 10", preserveAspectRatio="none", class_="sharebar", aria_hidden="true")


def _told(part: Bin) -> str:
    tip = f"confidence {part.low:.2f} to {part.high:.2f}: {part.count} images"
    return f"{tip}\nmean confidence {part.confidence:.3f}, accuracy {part.accuracy:.3f}" if part.count else tip


def _columns(xs: Sequence[float], step: float) -> Markup:
    """Numbers of epochs below, as many as there is room for."""
    every = math.ceil(len(xs) / 12)
    y = HEIGHT - BOTTOM + 15
    numbers = [svg.label(LEFT + (x - xs[0] + 0.5) * step, y, f"{x:g}", "middle") for x in xs[::every]]
    return joined(*numbers, svg.label(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 5, "epoch", "middle"))


def _stretch(part: Stretch, first: float, step: float, number: int) -> Markup:
    """A phase's name above the chart and, unless it is the first, the line where it begins."""
    begin = LEFT + max(part.first - first, 0) * step
    width = LEFT + (part.last - first + 1) * step - begin
    room = max(int(width / 5.6), 1)
    name = part.name if len(part.name) <= room else part.name[: room - 1] + "…"
    words = svg.label(begin + width / 2, TOP - 10, name, "middle", "phase")
    boundary = svg.line((begin, TOP - 20), (begin, HEIGHT - BOTTOM), "boundary")
    return joined(boundary, words) if number else words


def _line(line: Line, places: Sequence[tuple[float, float]]) -> Markup:
    path = "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in places)
    drawn = [tag("path", d=path, class_="curve")]
    if not line.training and len(places) <= MARKED:
        at = [f"translate({coordinate(x)} {coordinate(y)})" for x, y in places]
        drawn += [tag("path", d=_MARKS[line.run % len(_MARKS)], transform=moved, class_="mark") for moved in at]
    return tag("g", *drawn, class_=f"{'training' if line.training else 'held-out'} {colour(line.run)}")


def _values(x: float, lines: Sequence[Line], stretches: Sequence[Stretch]) -> str:
    """What the tooltip of an epoch says."""
    values = [f"{line.name} {y:.4f}" for line in lines for at, y in line.points if at == x]
    phase = next((f" ({part.name})" for part in stretches if part.first <= x <= part.last), "")
    return "\n".join([f"epoch {x:g}{phase}", *values])
