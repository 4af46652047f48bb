"""A run with Keras' own draws and every option of phases and model, on each backend."""

import csv
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG: dict[str, Any] = {
    "model": {
        "weights": "none",
        "backbone_args": {"width_mult": 0.35},
        "augment": [
            {"class_path": "RandomFlip"},
            {"class_path": "RandomTranslation", "init_args": {"height_factor": 0.1, "width_factor": 0.1}},
            {"class_path": "ColorJitter", "init_args": {"brightness_factor": 0.1}},
        ],
        "label_smoothing": 0.1,
    },
    "data": {"image_size": [32, 48], "batch_size": 5, "num_workers": 0, "resize": "pad"},
    "phases": [
        {
            "name": "head",
            "epochs": 4,
            "lr": 1e-3,
            "scheduler": "plateau",
            "early_stopping": {"monitor": "val_accuracy", "mode": "max", "patience": 1},
        },
        {"name": "some", "epochs": 1, "lr": 1e-4, "unfreeze_last": 20, "start_from": "best"},
        {"name": "all", "epochs": 1, "lr": 1e-5, "unfreeze_last": "all", "scheduler": "cosine"},
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_run_with_every_option(tmp_path: Path, image_folder: Any, python: Any, backend: str) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"the {backend} backend of Keras is not installed")
    root = image_folder({"a": 8, "b": 8})
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    for run in ("first", "second"):
        arguments = ["-m", "keras_ref", "fit", "--config", config, "--data.root", root]
        done = python([*arguments, "--trainer.default_root_dir", tmp_path / run], tmp_path, KERAS_BACKEND=backend)
        assert done.returncode == 0, done.stderr
    first = json.loads((tmp_path / "first" / "results.json").read_text())
    second = json.loads((tmp_path / "second" / "results.json").read_text())
    assert first["test"]["split"] == "val"
    assert [phase["name"] for phase in first["phases"]] == ["head", "some", "all"]
    assert first["test"] == second["test"]
    with (tmp_path / "first" / "metrics.csv").open(newline="") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert sum(phase["epochs"] for phase in first["phases"]) == len(losses)
    assert first["phases"][0]["epochs"] < 4  # untrained on 32 x 48 pixels, accuracy does not move
    assert first["test"]["loss"] == pytest.approx(min(losses), abs=1e-5)


def test_bad_data_is_one_message(tmp_path: Path, image_folder: Any, python: Any) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    arguments = ["-m", "keras_ref", "fit", "--config", config, "--data.root", image_folder({"alone": 3})]
    done = python([*arguments, "--trainer.default_root_dir", tmp_path / "run"], tmp_path, KERAS_BACKEND="torch")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("keras_ref: error: ")
    assert "single class" in done.stderr
