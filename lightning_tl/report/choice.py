"""Which of many images the page shows: those that teach most first."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lightning_tl.report.rows import Prediction
from lightning_tl.report.run import Run

MOST = 600
"""Images in a page."""
CONFIDENT, UNCERTAIN, UNEQUAL = 150, 60, 150
"""Of each run that many most confident mistakes and least certain hits come first, and images the runs disagree on."""
OF_CELL = 3
"""Then so many of each cell of the confusion matrix."""


@dataclass(frozen=True)
class Item:
    """One image and what each run says of it.

    Attributes:
        split: that the first run which predicted it had it in.
        path: relative to the data's root.
        label: true class.
        answers: of each run; None where it did not predict the image.
    """

    split: str
    path: str
    label: str
    answers: tuple[Prediction | None, ...]

    @property
    def disputed(self) -> bool:
        """Whether the runs predict more than one class."""
        return len({answer.predicted for answer in self.answers if answer}) > 1


def join(runs: Sequence[Run]) -> list[Item]:
    """Every image that some run predicted, once for each path and true class."""
    found: dict[tuple[str, str], list[Prediction | None]] = {}
    for number, run in enumerate(runs):
        for row in run.predictions:
            found.setdefault((row.path, row.label), [None] * len(runs))[number] = row
    return [
        Item(next(a.split for a in answers if a), path, label, tuple(answers))
        for (path, label), answers in found.items()
    ]


def choose(items: Sequence[Item], most: int = MOST) -> list[Item]:
    """At most ``most`` items, the most telling first, each once."""
    return [items[position] for position in itertools.islice(_unique(_by_interest(items)), most)]


def _by_interest(items: Sequence[Item]) -> Iterator[int]:
    """Positions of items, from the most telling on; some more than once."""
    wrong, right = [], []
    for run in range(len(items[0].answers) if items else 0):
        said = [(position, item.answers[run]) for position, item in enumerate(items)]
        wrong.append(_sorted([(p, a) for p, a in said if a and not a.hit], descending=True))
        right.append(_sorted([(p, a) for p, a in said if a and a.hit], descending=False))
    yield from _alternately([[p for p, _ in part[:CONFIDENT]] for part in wrong])
    yield from _alternately([[p for p, _ in part[:UNCERTAIN]] for part in right])
    yield from [position for position, item in enumerate(items) if item.disputed][:UNEQUAL]
    yield from _alternately([_of_cells(part) for part in wrong])
    yield from _alternately([_of_cells(part) for part in right])
    yield from _alternately([[p for p, _ in part] for part in wrong])
    yield from _alternately([[p for p, _ in part] for part in right])


def _sorted(said: list[tuple[int, Prediction]], descending: bool) -> list[tuple[int, Prediction]]:
    return sorted(said, key=lambda pair: pair[1].confidence, reverse=descending)


def _of_cells(said: Iterable[tuple[int, Prediction]]) -> list[int]:
    """The first ones of every cell of the confusion matrix: one of each, then a second of each, and so on."""
    cells: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, answer in said:
        cells[answer.label, answer.predicted].append(position)
    rounds = itertools.zip_longest(*(cell[:OF_CELL] for cell in cells.values()))
    return [position for part in rounds for position in part if position is not None]


def _alternately(parts: Sequence[Sequence[int]]) -> Iterator[int]:
    """One of each part in turn, so that no run's pictures push out another's."""
    for taken in itertools.zip_longest(*parts):
        yield from (position for position in taken if position is not None)


def _unique(positions: Iterable[int]) -> Iterator[int]:
    seen: set[int] = set()
    for position in positions:
        if position not in seen:
            seen.add(position)
            yield position
