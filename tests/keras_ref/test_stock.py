"""What a config says comes to bear in Keras' own mode too, where no number is held to lightning_tl's."""

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lightning_tl import ImageFolderDataModule

WORKER = """
import json, sys
from pathlib import Path
from keras_ref.backend import select_backend
select_backend()
import keras
import numpy as np
from keras_ref.classifier import build_classifier
from keras_ref.config import Config
from keras_ref.data import open_source
from keras_ref.data.dataset import pixels
from keras_ref.fit import fit
from keras_ref.options import DataConfig, ModelConfig
from keras_ref.phase import Phase
from keras_ref.phases import make_batches

root, out, resized = sys.argv[1:]
augment = [{"class_path": "RandomFlip"}]
model = ModelConfig(weights="none", backbone_args={"width_mult": 0.35}, dropout=0.37, augment=augment)
data = DataConfig(root=root, image_size=32, batch_size=4)
phases = (Phase("head", 1, 1e-3),)

def config(seed, name):
    return Config(model, data, phases, seed, str(Path(out) / name), pictures=False)

def order(seed):
    source = open_source(data, 0)
    classifier = build_classifier(model, data.size, len(source.class_names), seed)
    batches, _ = make_batches(classifier, source, config(seed, "no"), 0, 1)
    return batches._order(0).tolist()

stock = build_classifier(model, data.size, 2, 0)
jitter = [{"class_path": "ColorJitter", "init_args": {"saturation_factor": 0.4}}]
shared = build_classifier(ModelConfig(weights="none", augment=jitter, fused=False), data.size, 2, 0, shared=True)
(injected,) = (layer for layer in shared.model.layers if layer.name == "injected_0")
for seed, name in ((3, "first"), (3, "again"), (4, "other")):
    fit(config(seed, name))
for number, options in enumerate(json.loads(resized)):
    block = DataConfig(root=root, **options)
    np.save(Path(out) / f"{number}.npy", pixels(open_source(block, 0), block, range(6)))
print(json.dumps({
    "dropout": [layer.rate for layer in stock.model.layers if isinstance(layer, keras.layers.Dropout)],
    "saturation": list(injected.layer.saturation_factor),
    "orders": [order(seed) for seed in (3, 3, 4)],
}))
"""

RESIZED = [
    {"image_size": [32, 40], "resize": resize, "antialias": antialias}
    for resize in ("stretch", "crop", "pad")
    for antialias in (False, True)
]
"""Antialiased pixels may differ by a level at ties, as each side sums in an order of its own."""


def test_the_options_and_the_seed_come_to_bear(image_folder: Any, tmp_path: Path, python: Any) -> None:
    pytest.importorskip("keras")
    root = image_folder({"ants": 12, "bees": 12}, size=(60, 80))
    done = python(["-c", WORKER, root, tmp_path, json.dumps(RESIZED)], tmp_path, KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers["dropout"] == [0.37]
    assert answers["saturation"] == [0.0, 0.4], "as documented, and drawn by lightning_tl"
    first, again, other = answers["orders"]
    assert first == again != other
    assert sorted(first) == sorted(other)
    names = ("first", "again", "other")
    first, again, other = (metrics(tmp_path / name) for name in names)
    assert first == again != other
    first, again, other = (head(tmp_path / name) for name in names)
    assert np.array_equal(first, again), "random weights are of the seed"
    assert not np.array_equal(first, other)
    for number, options in enumerate(RESIZED):
        received = np.load(tmp_path / f"{number}.npy").astype(int)
        expected = ImageFolderDataModule(str(root), cache="none", **options).pixels(range(6))  # type: ignore[arg-type]
        away = np.abs(received - expected.permute(0, 2, 3, 1).numpy()).max()
        assert away <= (1 if options["antialias"] else 0), options


def head(run: Path) -> Any:
    """The kernel of the classifier, which features of an untrained network, as good as none, have hardly moved."""
    with h5py.File(run / "checkpoints" / "best.weights.h5") as file:
        return file["layers/dense/vars/0"][:]


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
