"""What ``python -m keras_ref fit`` leaves behind, on every backend."""

import csv
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event

from keras_ref.config import read_config
from lightning_tl.data import read_split
from lightning_tl.data.summary import data_line


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names_in(run: Path) -> set[str]:
    """Files of a run folder but for pictures; those of events have the time in their names."""
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    names = {name for name in names if not name.startswith("pictures/")}
    return {"events" if name.startswith("events.out.tfevents.") else name for name in names}


def keys(value: Any) -> Any:
    """Every key of nested mappings, and of the mappings in lists."""
    if isinstance(value, dict):
        return {key: keys(item) for key, item in value.items()}
    return [keys(item) for item in value] if isinstance(value, list) else None


def read_events(path: Path) -> list[Event]:
    """Records of TFRecord form, length, checksum, content, checksum: TensorBoard's readers would import TensorFlow."""
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        events.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return events


def test_all_files_are_there_and_the_last_line_names_the_folder(keras_side: Any) -> None:
    assert names_in(keras_side.run) == {
        "config.yaml",
        "events",
        "split.csv",
        "metrics.csv",
        "predictions.csv",
        "results.json",
        "confusion_matrix.png",
        "checkpoints/best.weights.h5",
        "checkpoints/last.weights.h5",
    }
    assert keras_side.output.splitlines()[-1] == f"run folder: {keras_side.run}"


def test_the_images_are_told_in_the_words_of_lightning_tl(keras_side: Any) -> None:
    samples = read_split(keras_side.run / "split.csv", keras_side.folder / "images")
    assert data_line(samples, sorted({sample.label for sample in samples})) in keras_side.output.splitlines()


def test_nothing_is_warned_of(keras_side: Any) -> None:
    assert "Warning:" not in keras_side.errors, keras_side.errors


def test_no_settings_file_of_keras_is_left_in_the_home(keras_side: Any) -> None:
    assert not (keras_side.folder / "home" / ".keras").exists()


def test_lightning_tl_writes_the_same_files(keras_side: Any, lightning_run: Path) -> None:
    renamed = {name.replace(".weights.h5", ".ckpt") for name in names_in(keras_side.run)}
    # Of lightning_tl alone: what Lightning was built with, and the checkpoint that a resumed run falls back to.
    assert renamed | {"hparams.yaml", "checkpoints/previous.ckpt"} == names_in(lightning_run)


def test_thumbnails_are_those_of_lightning_tl(keras_side: Any, lightning_run: Path) -> None:
    theirs, ours = (json.loads((r / "pictures/pictures.json").read_text()) for r in (keras_side.run, lightning_run))
    assert set(theirs) == set(ours)
    assert theirs["image_size"] == ours["image_size"]
    assert sorted(theirs["images"].items()) == sorted(ours["images"].items())
    for path in theirs["images"].values():
        one, other = (read_picture(run / "pictures" / path) for run in (keras_side.run, lightning_run))
        assert np.abs(one - other).mean() < 2  # a resized pixel on the border of two integers


def read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_lightning_tl_writes_the_same_keys(keras_side: Any, lightning_run: Path) -> None:
    theirs, ours = (json.loads((run / "results.json").read_text()) for run in (keras_side.run, lightning_run))
    for results in (theirs, ours):
        assert results.pop("versions")
    assert keys(theirs) == keys(ours)
    for name in ("metrics.csv", "predictions.csv"):
        theirs, ours = (rows(run / name) for run in (keras_side.run, lightning_run))
        assert set(theirs[0]) == set(ours[0]), name
    assert (keras_side.run / "split.csv").read_text() == (lightning_run / "split.csv").read_text()


def test_events_hold_the_numbers_of_metrics_csv(keras_side: Any) -> None:
    (path,) = keras_side.run.glob("events.out.tfevents.*")
    events = [event for event in read_events(path) if event.summary.value]
    for row, event in zip(rows(keras_side.run / "metrics.csv"), events, strict=True):
        assert int(row.pop("step")) == event.step
        found = {value.tag: value.simple_value for value in event.summary.value}
        assert found == pytest.approx({name: float(value) for name, value in row.items()}, rel=1e-6)


def test_f1_is_the_mean_over_classes_that_are_there(keras_side: Any) -> None:
    """By another way than either side's: precision and recall of the predictions."""
    tested = [row for row in rows(keras_side.run / "predictions.csv") if row["split"] == "test"]
    scores = []
    for name in {row[side] for row in tested for side in ("label", "predicted")}:
        hits = sum(row["label"] == row["predicted"] == name for row in tested)
        precision, recall = (hits / max(sum(row[side] == name for row in tested), 1) for side in ("predicted", "label"))
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    assert json.loads((keras_side.run / "results.json").read_text())["test"]["f1"] == pytest.approx(np.mean(scores))


def test_results_have_the_schema_of_every_run(keras_side: Any) -> None:
    results = json.loads((keras_side.run / "results.json").read_text())
    assert [phase["name"] for phase in results["phases"]] == ["head", "finetune"]
    for phase in results["phases"]:
        assert set(phase) == {"name", "epochs", "val_accuracy", "val_f1", "val_loss", "images_per_second"}
        assert phase["epochs"] == 1
        assert phase["images_per_second"] > 0
    assert results["framework"] == f"keras-{keras_side.answers['backend']}"
    assert results["classes"] == ["dark", "light"]
    assert results["seed"] == 4
    assert results["weights"]["source"].startswith("none")
    assert results["test"]["split"] == "test"
    assert {"keras", keras_side.answers["backend"]} <= set(results["versions"])


def test_test_metrics_follow_from_the_predictions(keras_side: Any) -> None:
    results = json.loads((keras_side.run / "results.json").read_text())["test"]
    predictions = rows(keras_side.run / "predictions.csv")
    assert list(predictions[0]) == ["split", "path", "label", "predicted", "probability_dark", "probability_light"]
    assert {row["split"] for row in predictions} == {"val", "test"}
    tested = [row for row in predictions if row["split"] == "test"]
    hits = sum(row["label"] == row["predicted"] for row in tested)
    assert results["accuracy"] == hits / len(tested)
    for row in predictions:
        assert float(row["probability_dark"]) + float(row["probability_light"]) == pytest.approx(1, abs=1e-6)


def test_metrics_have_a_row_an_epoch(keras_side: Any) -> None:
    metrics = rows(keras_side.run / "metrics.csv")
    assert [row["epoch"] for row in metrics] == ["0", "1"]
    assert [row["step"] for row in metrics] == ["1", "3"]  # 8 images in batches of 4
    assert all(float(row["train_loss"]) > 0 and float(row["val_loss"]) > 0 for row in metrics)


def test_lightning_tl_reads_the_split(keras_side: Any) -> None:
    samples = read_split(keras_side.run / "split.csv", keras_side.folder / "images")
    assert [sum(sample.split == split for sample in samples) for split in ("train", "val", "test")] == [8, 2, 2]


def test_the_config_in_the_run_folder_gives_the_same_run(keras_side: Any) -> None:
    config = read_config(keras_side.run / "config.yaml")
    assert config == read_config(keras_side.folder / "config.yaml", {"data.batch_size": "4"})
    assert yaml.safe_load(config.to_yaml())["keras"] == {"draws": "shared"}
