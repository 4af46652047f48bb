"""What the report says about predictions: confidence interval, classes' scores, calibration, difference of two runs."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.95
"""Of every confidence interval."""
BINS = 15
"""Of equal width, for the expected calibration error: as in Guo et al. 2017, https://arxiv.org/abs/1706.04599."""
EXACT_UP_TO = 1000
"""Discordant images: up to here McNemar's test sums the binomial distribution, beyond it uses the chi-squared one."""
NOISE = 0.05
"""A difference whose p-value is below counts as more than noise."""


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % confidence interval of a share, by Wilson's score method; (0, 1) where ``total`` is 0.

    It holds its level for small numbers and for shares near 0 and 1, where the usual one does not
    (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953; Newcombe 1998, method 3).
    """
    if not total:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, weight = hits / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return max(middle - half, 0.0), min(middle + half, 1.0)


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence is in (low, high].

    Attributes:
        low: lower bound of the confidence, a probability.
        high: upper bound.
        count: of images.
        confidence: their mean; 0 in an empty bin.
        accuracy: share of hits among them; 0 in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def calibration(predictions: Iterable[tuple[float, bool]], bins: int = BINS) -> list[Bin]:
    """Bins of equal width over [0, 1] of the predicted class's probability.

    Args:
        predictions: (probability of the predicted class, whether it is the true one) of each image.
        bins: their number.
    """
    counts, sums, hits = [0] * bins, [0.0] * bins, [0] * bins
    for confidence, hit in predictions:
        place = min(max(math.ceil(confidence * bins) - 1, 0), bins - 1)
        counts[place] += 1
        sums[place] += confidence
        hits[place] += hit
    return [
        Bin(i / bins, (i + 1) / bins, n, sums[i] / n if n else 0.0, hits[i] / n if n else 0.0)
        for i, n in enumerate(counts)
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """ECE: mean distance between confidence and accuracy over the bins, weighted by images; NaN without images."""
    total = sum(part.count for part in bins)
    return sum(part.count * abs(part.accuracy - part.confidence) for part in bins) / total if total else math.nan


@dataclass(frozen=True)
class ClassScores:
    """How well one class is recognised.

    Attributes:
        name: of the class.
        support: images of it.
        predicted: images taken for it.
        hits: images of it taken for it.
    """

    name: str
    support: int
    predicted: int
    hits: int

    @property
    def precision(self) -> float | None:
        """Share of hits among the images taken for it; None where there are none."""
        return self.hits / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of hits among its images; None where there are none."""
        return self.hits / self.support if self.support else None

    @property
    def f1(self) -> float | None:
        """2 hits / (predicted + support); None where both are 0."""
        total = self.predicted + self.support
        return 2 * self.hits / total if total else None


def class_scores(pairs: Iterable[tuple[str, str]], classes: Sequence[str]) -> list[ClassScores]:
    """Scores of every class from (true, predicted) names, in the order of ``classes``."""
    pairs = list(pairs)
    support = Counter(true for true, _ in pairs)
    predicted = Counter(name for _, name in pairs)
    hits = Counter(true for true, name in pairs if true == name)
    return [ClassScores(name, support[name], predicted[name], hits[name]) for name in classes]


def macro_f1(scores: Sequence[ClassScores]) -> float:
    """Mean F1 over the classes that are there or predicted; NaN without any."""
    values = [score.f1 for score in scores if score.f1 is not None]
    return sum(values) / len(values) if values else math.nan


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's test: could chance alone divide the images on which two runs differ like this?

    Exact (binomial with probability 1/2) up to ``EXACT_UP_TO`` such images, beyond with the chi-squared distribution
    and Edwards' continuity correction (McNemar 1947, https://doi.org/10.1007/BF02295996; Edwards 1948).

    Args:
        only_first: images that the first run alone gets right.
        only_second: images that the second run alone gets right.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    if not total:
        return 1.0
    if total > EXACT_UP_TO:
        squared = max(abs(only_first - only_second) - 1, 0) ** 2 / total
        return math.erfc(math.sqrt(squared / 2))
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    return min(2 * tail / (1 << total), 1.0)
