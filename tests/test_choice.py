"""Which images of a run are shown."""

import numpy as np

from lightning_tl.choice import HITS, MISTAKES, MOST, doubtful_hits, in_turn, mistakes, training_samples, worth_a_look
from lightning_tl.data import Sample
from lightning_tl.evaluate import Predictions


def predictions(labels: list[int], predicted: list[int], confidence: list[float], classes: int = 3) -> Predictions:
    """The predicted class has ``confidence``, the others share the rest; indices are ten times the rows."""
    probabilities = np.repeat((1 - np.array([confidence], np.float32).T) / (classes - 1), classes, axis=1)
    probabilities[np.arange(len(labels)), predicted] = confidence
    rows = np.arange(len(labels))
    return Predictions(rows * 10, np.array(labels), probabilities.astype(np.float32), np.zeros(len(labels), np.float32))


def test_the_most_confident_mistakes_and_the_least_confident_hits_come_first() -> None:
    given = predictions([0, 1, 2, 0, 1, 2], [0, 2, 2, 1, 1, 0], [0.9, 0.5, 0.6, 0.8, 0.4, 0.8])
    assert mistakes(given).tolist() == [3, 5, 1], "equals by index"
    assert doubtful_hits(given).tolist() == [4, 2, 0]
    assert worth_a_look(given) == [3, 5, 1, 4, 2, 0]


def test_every_kind_of_answer_is_shown_where_there_are_more_images_than_room() -> None:
    classes = 10
    label, predicted = (grid.ravel().tolist() * 20 for grid in np.indices((classes, classes)))  # 1800 mistakes
    confidence = np.random.default_rng(0).uniform(0.3, 1, len(label)).astype(np.float32)
    given = predictions(label, predicted, confidence.tolist(), classes)
    rows = worth_a_look(given)
    assert len(rows) == len(set(rows)) <= MOST
    assert rows[:MISTAKES] == mistakes(given)[:MISTAKES].tolist()
    assert rows[MISTAKES : MISTAKES + HITS] == doubtful_hits(given)[:HITS].tolist()
    first = {(label[row], predicted[row]): row for row in np.argsort(confidence, kind="stable").tolist()}
    assert len(first) == classes**2
    assert set(first.values()) <= set(rows), "of each cell the most confident"


def test_there_is_an_end_to_it() -> None:
    classes = 30
    label, predicted = (grid.ravel().tolist() for grid in np.indices((classes, classes)))
    rows = worth_a_look(predictions(label, predicted, [0.5] * len(label), classes))
    assert len(rows) == len(set(rows)) == MOST
    assert {label[row] for row in rows if label[row] == predicted[row]} == set(range(classes)), "all hits, being few"


def test_a_model_that_has_diverged_has_mistakes_too() -> None:
    given = predictions([0, 1, 2], [1, 1, 1], [0.5, 0.6, 0.7])
    given.probabilities[2] = np.nan
    assert mistakes(given).tolist() == [0, 2], "what is no number comes last"
    assert worth_a_look(given) == [0, 2, 1]


def test_training_samples_are_of_as_many_classes_as_there_are() -> None:
    names = [("train", "a"), ("val", "a"), ("train", "a"), ("train", "b"), ("train", "b"), ("test", "c")]
    samples = [Sample(split, f"{i}.jpg", label) for i, (split, label) in enumerate(names)]  # type: ignore[arg-type]
    assert training_samples(samples) == [0, 3, 2, 4]
    many = [Sample("train", f"{i}.jpg", str(i // 2)) for i in range(20)]
    assert training_samples(many) == [0, 2, 4, 6, 8, 10]


def test_turns() -> None:
    assert in_turn("abaac") == [(0, 0), (0, 1), (0, 4), (1, 2), (2, 3)]
    assert in_turn("") == []
