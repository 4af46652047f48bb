"""Predictions, the confusion matrix and the files they become."""

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torchmetrics.classification import MulticlassF1Score

from lightning_tl.data import Sample
from lightning_tl.evaluate import (
    Predictions,
    collect,
    confusion_matrix,
    draw_confusion_matrix,
    results,
    write_predictions,
    write_results,
)

CLASSES = ("ant", "bee, wild", "wasp\n<b>")


@pytest.fixture
def predictions() -> Predictions:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]], np.float32)
    loss = np.array([0.5, 1.0, 1.5, 3.0], np.float32)
    return Predictions(np.array([0, 1, 2, 3]), np.array([0, 1, 1, 2]), probabilities, loss)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is made from here on."""
    figures: list[Figure] = []

    class Kept(Figure):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            figures.append(self)

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    return figures


def test_batches_are_joined_in_the_order_of_the_split_file_each_sample_once() -> None:
    def batch(*index: int) -> dict[str, torch.Tensor]:
        label = torch.tensor(index)
        return {
            "index": label,
            "label": label * 10,
            "probabilities": label[:, None].float(),
            "loss": -label.float(),
        }

    joined = collect([batch(4, 1), batch(0, 3), batch(3)])
    assert joined.index.tolist() == [0, 1, 3, 4]
    assert joined.label.tolist() == [0, 10, 30, 40]
    assert joined.loss.tolist() == [0, -1, -3, -4]


def test_accuracy_and_confusion_matrix(predictions: Predictions) -> None:
    assert predictions.predicted.tolist() == [0, 2, 1, 0]
    assert predictions.accuracy() == 0.5
    assert confusion_matrix(predictions, 3).tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert predictions.where(predictions.label == 1).accuracy() == 0.5


def test_f1_leaves_out_a_class_that_is_nowhere(predictions: Predictions) -> None:
    torchmetrics = MulticlassF1Score(3, average="macro")
    for kept in (predictions, predictions.where(predictions.label == 0), predictions.where(predictions.label == 1)):
        expected = torchmetrics(torch.from_numpy(kept.predicted), torch.from_numpy(kept.label))
        assert kept.f1() == pytest.approx(float(expected))
    assert predictions.where(predictions.label == 0).f1() == 1.0


def test_predictions_csv_survives_hostile_names(tmp_path: Path, predictions: Predictions) -> None:
    paths = [
        "ant/1.jpg",
        'bee, wild/"x".jpg',
        "bee, wild/a\nb.jpg",
        b"wasp/\xff.jpg".decode("utf-8", "surrogateescape"),
    ]
    samples = [Sample("val", path, CLASSES[label]) for path, label in zip(paths, [0, 1, 1, 2], strict=True)]
    write_predictions(tmp_path / "p.csv", predictions, samples, CLASSES)
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["split", "path", "label", "predicted", *(f"probability_{name}" for name in CLASSES)]
    assert [row[1] for row in rows[1:]] == paths
    assert [row[3] for row in rows[1:]] == ["ant", CLASSES[2], CLASSES[1], "ant"]
    assert [float(value) for value in rows[1][4:]] == pytest.approx([0.7, 0.2, 0.1])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "'", "''="])
def test_predictions_csv_holds_no_formula(tmp_path: Path, start: str) -> None:
    names = (f"{start}1+1", "plain", f"a{start}b")
    predictions = Predictions(np.arange(3), np.arange(3), np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    samples = [Sample("val", f"{name}/1.jpg", name) for name in names]
    write_predictions(tmp_path / "p.csv", predictions, samples, names)
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))[1:]
    for row, sample in zip(rows, samples, strict=True):
        assert [cell.removeprefix("'") for cell in row[:4]] == ["val", sample.path, sample.label, sample.label]
    assert [row[2] for row in rows] == [f"'{names[0]}", "plain", names[2]]
    assert rows[0][4:] == ["1", "0", "0"]


def test_results_hold_the_promised_fields(tmp_path: Path, predictions: Predictions) -> None:
    values = results(predictions, "val", [{"name": "head"}], CLASSES, {"source": "s", "sha256": "h"}, 7)
    write_results(tmp_path / "results.json", values)
    read = json.loads((tmp_path / "results.json").read_text())
    assert read["test"] == {"accuracy": 0.5, "f1": pytest.approx(4 / 9), "loss": 1.5, "split": "val"}
    assert read["framework"] == "lightning"
    assert read["seed"] == 7
    assert read["classes"] == list(CLASSES)
    assert {"torch", "lightning", "timm"} <= set(read["versions"])


@pytest.mark.parametrize("count", [3, 40])
def test_the_picture_is_a_png_of_sensible_size(tmp_path: Path, count: int) -> None:
    names = [CLASSES[i % 3] + f" $x_{i}" for i in range(count)]
    draw_confusion_matrix(tmp_path / "c.png", np.eye(count, dtype=np.int64), names, "val split: $1_")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert 5_000 < (tmp_path / "c.png").stat().st_size < 500_000


@pytest.mark.parametrize(("count", "step"), [(30, 1), (70, 1), (71, 2), (200, 3)])
def test_names_of_many_classes_do_not_run_into_one_another(
    tmp_path: Path, drawn: list[Figure], count: int, step: int
) -> None:
    """Those that stand there stand at their own rows and columns."""
    draw_confusion_matrix(tmp_path / "c.png", np.eye(count, dtype=np.int64), [f"class {i}" for i in range(count)], "")
    axes = drawn[0].axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == [f"class {i}" for i in range(0, count, step)]
        assert list(axis.get_ticklocs()) == list(range(0, count, step))
    rows = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(below.y1 <= above.y0 for above, below in pairwise(rows))
    assert axes.get_xlabel() == ("predicted" if step == 1 else f"predicted (1 class in {step} is named)")


def test_a_row_of_the_picture_is_a_true_class(tmp_path: Path, drawn: list[Figure]) -> None:
    """With its counts in the cells, and their shares of it as colours; a class without images has none."""
    counts = np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]])
    draw_confusion_matrix(tmp_path / "c.png", counts, CLASSES, "")
    axes = drawn[0].axes[0]
    cells = {text.get_position()[::-1]: int(text.get_text()) for text in axes.texts}
    assert cells == dict(np.ndenumerate(counts))
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 0]]  # type: ignore[union-attr]
    assert axes.get_ylim() == (2.5, -0.5), "the first class is at the top"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_a_diverged_run_leaves_json_that_others_can_read(tmp_path: Path) -> None:
    values = {"phases": [{"name": "head", "val_loss": float("nan"), "epochs": 1}], "test": {"loss": float("inf")}}
    write_results(tmp_path / "results.json", values)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert read == {"phases": [{"name": "head", "val_loss": None, "epochs": 1}], "test": {"loss": None}}
