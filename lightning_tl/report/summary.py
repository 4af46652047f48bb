"""What is computed of a run once, for all parts of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_tl.report.charts import Stretch
from lightning_tl.report.duplicates import Group, shared_images
from lightning_tl.report.markup import shown
from lightning_tl.report.measures import (
    Bin,
    ClassScores,
    calibration,
    calibration_error,
    class_scores,
    macro_f1,
    mcnemar,
    wilson,
)
from lightning_tl.report.pictures import Pictures
from lightning_tl.report.rows import Prediction
from lightning_tl.report.run import Run


@dataclass(frozen=True)
class Summary:
    """A run and its figures, all of the tested split.

    Attributes:
        run: the run.
        pictures: where its pictures are.
        hits: images predicted right.
        total: images.
        accuracy: hits / total.
        interval: 95 % confidence interval of the accuracy.
        f1: mean over the classes.
        scores: of each class.
        bins: of calibration.
        ece: expected calibration error.
        shared: files with one picture in several splits or classes; None if that could not be checked.
        unread: images that could not be read when looking for them.
    """

    run: Run
    pictures: Pictures
    hits: int
    total: int
    accuracy: float
    interval: tuple[float, float]
    f1: float
    scores: Sequence[ClassScores]
    bins: Sequence[Bin]
    ece: float
    shared: Sequence[Group] | None = None
    unread: int = 0

    @property
    def name(self) -> str:
        """The run's name as people can read it."""
        return shown(self.run.name)

    @property
    def stretches(self) -> list[Stretch]:
        """The phases along the epochs, which count from 1 here."""
        return [stretch for stretch, _ in self._phases()]

    @property
    def speeds(self) -> dict[str, Any]:
        """Training images per second by phase; None where results.json does not say."""
        return {stretch.name: phase.get("images_per_second") for stretch, phase in self._phases()}

    def _phases(self) -> list[tuple[Stretch, Mapping[str, Any]]]:
        found, first = [], 1
        for phase in self.run.phases:
            epochs = phase.get("epochs")
            if isinstance(epochs, int) and epochs > 0:
                found.append((Stretch(shown(str(phase.get("name", ""))), first, first + epochs - 1), phase))
                first += epochs
        return found


def summarize(run: Run) -> Summary:
    """Compute it all; reads the images once to find duplicates, if they can be found."""
    rows = run.tested
    hits = sum(row.hit for row in rows)
    scores = class_scores(((row.label, row.predicted) for row in rows), run.classes)
    bins = calibration((row.confidence, row.hit) for row in rows)
    pictures = Pictures(run)
    shared, unread = None, 0
    if pictures.root is not None and run.samples:
        shared, unread = shared_images(run.samples, pictures.root)
    return Summary(
        run,
        pictures,
        hits,
        len(rows),
        hits / len(rows),
        wilson(hits, len(rows)),
        macro_f1(scores),
        scores,
        bins,
        calibration_error(bins),
        shared,
        unread,
    )


@dataclass(frozen=True)
class Pair:
    """Two runs on the images that both predicted in their tested split.

    Attributes:
        common: such images, of the same path and true class.
        only_first: those that the first run alone gets right.
        only_second: those that the second run alone gets right.
        both: those that both get right.
        p: of McNemar's test.
    """

    common: int
    only_first: int
    only_second: int
    both: int
    p: float

    @property
    def difference(self) -> float:
        """Accuracy of the second run less that of the first, on these images."""
        return (self.only_second - self.only_first) / self.common if self.common else 0.0


def compare(first: Run, second: Run) -> Pair:
    """Count, and test with McNemar's test."""
    known: dict[tuple[str, str], Prediction] = {(row.path, row.label): row for row in first.tested}
    both = [(known[row.path, row.label].hit, row.hit) for row in second.tested if (row.path, row.label) in known]
    only_first, only_second = both.count((True, False)), both.count((False, True))
    return Pair(len(both), only_first, only_second, both.count((True, True)), mcnemar(only_first, only_second))
