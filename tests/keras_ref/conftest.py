"""What each installed Keras backend answers, computed once."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from parity_tests.weights import lived_in

WORKER = Path(__file__).with_name("keras_worker.py")
REPOSITORY = Path(__file__).parents[2]

AUGMENT = (
    {"class_path": "RandomFlip", "init_args": {"mode": "horizontal"}},
    {"class_path": "RandomFlip"},
    {"class_path": "lightning_tl.augment.RandomRotation", "init_args": {"factor": 0.1}},
    {"class_path": "RandomZoom", "init_args": {"height_factor": 0.1}},
    {"class_path": "RandomZoom", "init_args": {"height_factor": [-0.3, 0.1], "width_factor": 0.2}},
    {"class_path": "RandomTranslation", "init_args": {"height_factor": 0.2, "width_factor": [-0.1, 0.3]}},
    {"class_path": "RandomContrast", "init_args": {"factor": [0.4, 0.3]}},
    {"class_path": "RandomBrightness", "init_args": {"factor": 0.3}},
    {
        "class_path": "ColorJitter",
        "init_args": {
            "brightness_factor": 0.2,
            "contrast_factor": 0.3,
            "saturation_factor": [0.2, 0.45],
            "hue_factor": 0.2,
        },
    },
)
"""Saturation stays below 0.5, where Keras lets no colour go below 0 and both sides are the same."""

LOSSES = (1.0, 0.8, 0.81, 0.79995, 0.8, 0.82, 0.7, 0.71, 0.72, 0.73, 0.74, 0.6, 0.9, 0.9, 0.9, 0.9)
PHASE = {"name": "p", "epochs": len(LOSSES), "lr": 0.01}
SCHEDULES = (
    {**PHASE, "scheduler": "cosine"},
    {**PHASE, "scheduler": "cosine", "scheduler_args": {"eta_min": 0.001, "T_max": 20}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"patience": 1, "factor": 0.5}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"patience": 0, "factor": 0.5, "cooldown": 2}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"patience": 0, "threshold_mode": "abs", "threshold": 0.05}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"monitor": "val_accuracy", "patience": 2}},
    {**PHASE, "early_stopping": {"patience": 2}},
    {**PHASE, "early_stopping": {}},
    {**PHASE, "early_stopping": {"patience": 3, "min_delta": 0.15}},
    {**PHASE, "early_stopping": {"monitor": "val_f1", "patience": 4}},
    {**PHASE, "early_stopping": {"monitor": "val_accuracy", "mode": "min", "patience": 4}},
)
QUESTIONS: dict[str, Any] = {
    "augment": AUGMENT,
    "unfreeze_last": [0, 1, 19, 20, 21, "all"],
    "losses": LOSSES,
    "schedules": SCHEDULES,
    "probabilities": [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]],
    "labels": [0, 1],
    "smoothing": [0.0, 0.1],
    "orders": [[5, 0], [5, 0], [5, 1], [6, 0]],
    "matrix": [[[3, 1, 0], [0, 2, 2], [1, 0, 0]], ["ant", "bee", "wasp"], "val split: accuracy 0.6667"],
    "f1": {
        "probabilities": [[0.7, 0.2, 0.1, 0.0], [0.1, 0.3, 0.6, 0.0], [0.2, 0.5, 0.3, 0.0], [0.4, 0.3, 0.3, 0.0]],
        "labels": [0, 1, 1, 2],
        "batch": 3,
    },
}


@dataclass(frozen=True)
class KerasSide:
    """What a worker has left behind.

    Attributes:
        folder: with the arrays, ``images`` and the run folder ``run``.
        answers: see ``keras_worker.answer``.
        output: what it printed.
        errors: what it printed to stderr.
    """

    folder: Path
    answers: dict[str, Any]
    output: str
    errors: str

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    def array(self, name: str) -> np.ndarray:
        """An array by name."""
        return np.load(self.folder / f"{name}.npy")


def run_python(arguments: Sequence[str | Path], home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the CPU in a process with a home of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KERAS")}
    # Compiling for speed takes jax longer than all that these small models then compute.
    environment |= {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "HOME": str(home), **variables}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session", params=["tensorflow", pytest.param("jax", marks=pytest.mark.slow), "torch"])
def keras_side(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KerasSide:
    """Answers of one backend, and a run folder of its fit in shared mode; skipped where it is not installed."""
    if find_spec(request.param) is None:
        pytest.skip(f"the {request.param} backend of Keras is not installed")
    folder = _shared(tmp_path_factory, request.config) / f"keras_{request.param}"
    printed = folder / "printed.json"
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.is_file():
            folder.mkdir()
            _write_inputs(folder)
            done = run_python([WORKER, folder], folder / "home", KERAS_BACKEND=request.param)
            assert done.returncode == 0, done.stderr
            printed.write_text(json.dumps([done.stdout, done.stderr]))
    return KerasSide(folder, json.loads((folder / "answers.json").read_text()), *json.loads(printed.read_text()))


def _shared(factory: pytest.TempPathFactory, config: pytest.Config) -> Path:
    """A folder of this run of the tests alone, which all its processes see: a fit in Keras takes most of a minute."""
    base = factory.getbasetemp()
    return base.parent if hasattr(config, "workerinput") else base


def _write_inputs(folder: Path) -> None:
    rng = np.random.default_rng(2)
    (folder / "home").mkdir()
    (folder / "questions.json").write_text(json.dumps(QUESTIONS))
    np.save(folder / "images.npy", _smooth(rng, 6, 24, 21))
    shutil.copy(lived_in(0.35), folder / "weights.h5")
    np.save(folder / "uniforms.npy", (rng.integers(0, 2**24, (6, 5)) / 2**24).astype(np.float32))
    for label, names in (("dark", 80), ("light", 170)):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(6):
            pixels = rng.normal(names, 30, (40, 36, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / label / f"{number}.png")
    (folder / "config.yaml").write_text(yaml.safe_dump(_config(folder)))


def _smooth(rng: np.random.Generator, batch: int, height: int, width: int) -> np.ndarray:
    """Images in patches of three pixels, uint8, (batch, height, width, 3)."""
    coarse = rng.integers(0, 256, (batch, height // 3, width // 3, 3), dtype=np.uint8)
    return coarse.repeat(3, axis=1).repeat(3, axis=2)


def _config(folder: Path) -> dict[str, Any]:
    """The smallest run: two phases of one epoch."""
    return {
        "seed_everything": 4,
        "model": {
            "weights": "none",
            "backbone_args": {"width_mult": 0.35},
            "augment": [AUGMENT[0], AUGMENT[2]],
            "fused": False,
            "class_weights": {"dark": 2.0},
        },
        "data": {"root": str(folder / "images"), "image_size": 32, "batch_size": 8, "test_fraction": 0.2},
        "phases": [
            {"name": "head", "epochs": 1, "lr": 1e-3},
            {"name": "finetune", "epochs": 1, "lr": 1e-5, "unfreeze_last": 20},
        ],
        "trainer": {"default_root_dir": str(folder / "run"), "accelerator": "cpu"},
        "keras": {"draws": "shared"},
    }


@pytest.fixture(scope="session")
def lightning_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of ``lightning-tl fit`` on the config and the images of ``keras_side``."""
    folder = tmp_path_factory.mktemp("lightning")
    _write_inputs(folder)
    options = ["--data.batch_size=4", "--data.num_workers=0", "--trainer.enable_progress_bar=false"]
    done = run_python(["-m", "lightning_tl", "fit", "--config", folder / "config.yaml", *options], folder / "home")
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def ref_questions() -> dict[str, Any]:
    """What the workers were asked."""
    return QUESTIONS


@pytest.fixture
def python() -> Any:
    """``run_python``."""
    return run_python
