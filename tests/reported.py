"""Run folders made by hand, for tests of the report: as ``fit`` writes them, with chosen predictions."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from lightning_tl.table import guarded, write_table

CLASSES = ("daisy", "rose", "tulip")
PHASES = (("head", 2), ("finetune", 2))
Row = tuple[str, str, str, str, float]
"""Split, path, true class, predicted class, its probability."""


def rows_of(classes: Sequence[str] = CLASSES, each: int = 6, split: str = "val") -> list[Row]:
    """Of each class ``each`` images, the last of which is taken for the next class."""
    rows = []
    for number, label in enumerate(classes):
        for image in range(each):
            predicted = classes[(number + 1) % len(classes)] if image == each - 1 else label
            rows.append((split, f"{label}/{image}.png", label, predicted, 0.55 + 0.4 * image / each))
    return rows


def write_run(
    folder: Path,
    rows: Sequence[Row],
    classes: Sequence[str] = CLASSES,
    root: Path | str | None = None,
    train: Sequence[tuple[str, str, str]] = (),
    **results: Any,
) -> Path:
    """A run folder with these predictions and, if asked for, training images in split.csv; results.json fits them."""
    folder.mkdir(parents=True)
    hits = [predicted == label for _, _, label, predicted, _ in rows]
    values = {
        "phases": [
            {"name": name, "epochs": epochs, "val_loss": 0.5, "val_accuracy": 0.8, "images_per_second": 123.4}
            for name, epochs in PHASES
        ],
        "test": {"accuracy": sum(hits) / len(hits), "loss": 0.4321, "f1": 0.8, "split": rows[0][0]},
        "classes": list(classes),
        "weights": {"source": "file w.h5", "sha256": "ab" * 32},
        "framework": "lightning",
        "versions": {"torch": "2.15.0"},
        "seed": 7,
        **results,
    }
    (folder / "results.json").write_text(json.dumps(values))
    table = [["split", "path", "label", "predicted", *(f"probability_{name}" for name in classes)]]
    for split, path, label, predicted, confidence in rows:
        rest = (1 - confidence) / max(len(classes) - 1, 1)
        shares = [f"{confidence if name == predicted else rest:.9g}" for name in classes]
        table.append([*map(guarded, (split, path, label, predicted)), *shares])
    write_table(folder / "predictions.csv", table)
    samples = [["split", "path", "label"], *map(list, train), *([row[0], row[1], row[2]] for row in rows)]
    write_table(folder / "split.csv", samples)
    write_metrics(folder / "metrics.csv", sum(epochs for _, epochs in PHASES))
    config = {"data": {"root": None if root is None else str(root)}, "phases": [name for name, _ in PHASES]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def write_metrics(path: Path, epochs: int) -> None:
    """As Lightning's logger writes them: validation and training in rows of their own."""
    names = [f"{part}_{metric}" for part in ("train", "val") for metric in ("accuracy", "loss")]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["epoch", "step", *names])
        writer.writeheader()
        for epoch in range(epochs):
            for part, gap in (("val", 0.0), ("train", 0.05)):
                good = 0.6 + 0.08 * epoch - gap
                values = {f"{part}_accuracy": good, f"{part}_loss": 1 - good}
                writer.writerow({"epoch": epoch, "step": epoch * 3, **values})


def draw(root: Path, paths: Sequence[str], size: tuple[int, int] = (48, 40)) -> Path:
    """A PNG or JPEG of its own noise at each path under ``root``; ``size`` is (width, height)."""
    generator = np.random.default_rng(0)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(root / path)
    return root
