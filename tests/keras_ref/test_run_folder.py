"""What ``python -m keras_ref fit`` leaves behind, on every backend."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from keras_ref.config import read_config
from lightning_tl.data import read_split


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_files_are_there_and_the_last_line_names_the_folder(keras_side: Any) -> None:
    names = {path.relative_to(keras_side.run).as_posix() for path in keras_side.run.rglob("*") if path.is_file()}
    assert names == {
        "config.yaml",
        "split.csv",
        "metrics.csv",
        "predictions.csv",
        "results.json",
        "confusion_matrix.png",
        "checkpoints/best.weights.h5",
        "checkpoints/last.weights.h5",
    }
    assert keras_side.output.splitlines()[-1] == f"run folder: {keras_side.run}"


def test_nothing_is_warned_of(keras_side: Any) -> None:
    assert "Warning:" not in keras_side.errors, keras_side.errors


def test_no_settings_file_of_keras_is_left_in_the_home(keras_side: Any) -> None:
    assert not (keras_side.folder / "home" / ".keras").exists()


def test_results_have_the_schema_of_every_run(keras_side: Any) -> None:
    results = json.loads((keras_side.run / "results.json").read_text())
    assert [phase["name"] for phase in results["phases"]] == ["head", "finetune"]
    for phase in results["phases"]:
        assert set(phase) == {"name", "epochs", "val_accuracy", "val_loss", "images_per_second"}
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
    assert sum(map(sum, results["confusion"])) == len(tested)
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
