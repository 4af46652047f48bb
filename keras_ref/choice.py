"""Which images of a run are worth a look: mistakes, doubtful hits, examples of every kind of answer."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_ref.data import Sample
from keras_ref.evaluate import Predictions

MISTAKES, HITS, PER_CELL = 200, 60, 3
"""At most so many mistakes and doubtful hits, and so many of each cell of the confusion matrix ..."""
MOST = 400
"""... but no more than this together: about 1.5 MB of thumbnails."""
TRAINING = 6
"""Training samples whose augmentation is shown."""


def mistakes(predictions: Predictions) -> NDArray[np.int64]:
    """Rows of ``predictions`` with the wrong class, most confident first, equals by index."""
    order = _most_confident_first(predictions)
    rows: NDArray[np.int64] = order[(predictions.predicted != predictions.label)[order]]
    return rows


def doubtful_hits(predictions: Predictions) -> NDArray[np.int64]:
    """Rows of ``predictions`` with the true class, least confident first."""
    order = _most_confident_first(predictions)[::-1]
    rows: NDArray[np.int64] = order[(predictions.predicted == predictions.label)[order]]
    return rows


def worth_a_look(predictions: Predictions) -> list[int]:
    """Rows of ``predictions``, each once, at most ``MOST``.

    The most confident mistakes, then the least confident hits, then the most confident images of each cell of the
    confusion matrix, every cell's first before any cell's second.
    """
    order = _most_confident_first(predictions)
    cells = zip(predictions.label[order].tolist(), predictions.predicted[order].tolist(), strict=True)
    examples = [order[position] for turn, position in in_turn(cells) if turn < PER_CELL]
    rows = [*mistakes(predictions)[:MISTAKES], *doubtful_hits(predictions)[:HITS], *examples]
    return list(dict.fromkeys(int(row) for row in rows))[:MOST]


def training_samples(samples: Sequence[Sample]) -> list[int]:
    """Indices of at most ``TRAINING`` training samples: the first of each class, then the second of each."""
    training = [index for index, sample in enumerate(samples) if sample.split == "train"]
    turns = in_turn(samples[index].label for index in training)
    return [training[position] for _, position in turns[:TRAINING]]


def in_turn(keys: Iterable[Hashable]) -> list[tuple[int, int]]:
    """(turn, position) of every key: the first of each key has turn 0, the second 1; sorted."""
    seen: Counter[Hashable] = Counter()
    found = []
    for position, key in enumerate(keys):
        found.append((seen[key], position))
        seen[key] += 1
    return sorted(found)


def _most_confident_first(predictions: Predictions) -> NDArray[np.int64]:
    """All rows; equals by index, and probabilities that are not numbers last."""
    return np.argsort(-predictions.probabilities.max(axis=1), kind="stable")
