"""Seed for seed the same run, small: ``scripts/accuracy_study.py`` on a few photographs, on each backend."""

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from parity_tests.processes import BACKENDS, installed_backends

ROOT = Path(__file__).parent.parent
OPTIONS = (
    "--data.image_size=64", "--data.batch_size=8", "--data.num_workers=0", "--data.val_fraction=0.4",
)  # fmt: skip
IMAGES = 20
"""A class."""


@pytest.fixture(scope="module")
def real_assets() -> Path:
    """The folder of real weights and photographs; skipped without it."""
    if "LIGHTNING_TL_ASSETS" not in os.environ:
        pytest.skip("LIGHTNING_TL_ASSETS is not set: no real weights and photographs")
    return Path(os.environ["LIGHTNING_TL_ASSETS"])


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("accuracy_study", ROOT / "scripts" / "accuracy_study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, real_assets: Path) -> list[str]:
    """Command-line arguments: real photographs, real weights, two epochs a phase."""
    folder = tmp_path_factory.mktemp("same_run")
    for name in ("ants", "bees"):
        (folder / "images" / name).mkdir(parents=True)
        for path in sorted((real_assets / "data" / "hymenoptera" / "val" / name).glob("*.jpg"))[:IMAGES]:
            shutil.copy(path, folder / "images" / name)
    config = (ROOT / "configs" / "parity.yaml").read_text().replace("epochs: 3", "epochs: 2")
    (folder / "config.yaml").write_text(config)
    weights = real_assets / "weights" / "keras_mobilenet_v2_0.35_224_no_top.h5"
    return [str(folder / "config.yaml"), f"--data.root={folder / 'images'}", f"--model.weights={weights}", *OPTIONS]


@pytest.fixture(scope="module")
def ours(study: ModuleType, arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What lightning-tl fit left behind."""
    config, *rest = arguments
    folder = tmp_path_factory.mktemp("lightning") / "run"
    return study.train("lightning_tl", config, [*rest, "--trainer.enable_progress_bar=false"], folder)


@pytest.mark.parametrize("backend", BACKENDS)
def test_keras_follows(backend: str, study: ModuleType, arguments: list[str], ours: Any, tmp_path: Path) -> None:
    if backend not in installed_backends():
        pytest.skip(f"the {backend} backend of Keras is not installed")
    config, *rest = arguments
    theirs = study.train("keras_ref", config, rest, tmp_path / "run", KERAS_BACKEND=backend)
    verdict = study.compare(ours, theirs)
    assert len(verdict["epochs"]) == 4
    assert verdict["loss_error"] <= study.LOSS_TOLERANCE, verdict
    assert verdict["same_class"] >= study.SAME_CLASS, verdict


def test_another_dropout_is_another_run(study: ModuleType, arguments: list[str], ours: Any, tmp_path: Path) -> None:
    """The comparison can fail."""
    config, *rest = arguments
    options = [*rest, "--trainer.enable_progress_bar=false", "--model.dropout=0.21"]
    other = study.train("lightning_tl", config, options, tmp_path / "run")
    assert study.compare(ours, other)["loss_error"] > 10 * study.LOSS_TOLERANCE
