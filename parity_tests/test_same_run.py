"""Seed for seed the same run, small: ``scripts/accuracy_study.py`` on a few photographs, on each backend."""

import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
OPTIONS = (
    "--data.image_size=64", "--data.batch_size=8", "--data.num_workers=0", "--data.val_fraction=0.4",
    "--data.batch_size_is=global",
)  # fmt: skip
IMAGES = {"ants": 20, "bees": 21}
"""25 are for training: batches of 8, 8, 8 and 1, of which the last leaves the second of two processes with padding."""
TWO_PROCESSES = ("--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.accelerator=cpu")


@pytest.fixture(scope="module")
def real_assets() -> Path:
    """The folder of real weights and photographs; skipped without it."""
    if "LIGHTNING_TL_ASSETS" not in os.environ:
        pytest.skip("LIGHTNING_TL_ASSETS is not set: no real weights and photographs")
    return Path(os.environ["LIGHTNING_TL_ASSETS"])


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, real_assets: Path) -> list[str]:
    """Command-line arguments: real photographs, real weights, two epochs a phase."""
    folder = tmp_path_factory.mktemp("same_run")
    for name, count in IMAGES.items():
        (folder / "images" / name).mkdir(parents=True)
        for path in sorted((real_assets / "data" / "hymenoptera" / "val" / name).glob("*.jpg"))[:count]:
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


@pytest.fixture(scope="module")
def by_two(study: ModuleType, arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What it left behind with the same global batch on two processes."""
    config, *rest = arguments
    folder = tmp_path_factory.mktemp("two") / "run"
    options = [*rest, "--trainer.enable_progress_bar=false", *TWO_PROCESSES]
    return study.train("lightning_tl", config, options, folder, OMP_NUM_THREADS="1")


@pytest.fixture(scope="module")
def theirs(
    keras_backend: str, study: ModuleType, arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """What keras_ref fit left behind, on each backend."""
    config, *rest = arguments
    folder = tmp_path_factory.mktemp(keras_backend) / "run"
    return study.train("keras_ref", config, rest, folder, KERAS_BACKEND=keras_backend)


@pytest.mark.parametrize("run", ["ours", "by_two"])
def test_keras_follows(run: str, study: ModuleType, theirs: Any, request: pytest.FixtureRequest) -> None:
    """Two processes are held to Keras itself, not only to one process."""
    verdict = study.compare(request.getfixturevalue(run), theirs)
    assert len(verdict["epochs"]) == 4
    assert verdict["loss_error"] <= study.LOSS_TOLERANCE, verdict
    assert verdict["same_class"] >= study.SAME_CLASS, verdict


def test_another_dropout_is_another_run(study: ModuleType, arguments: list[str], ours: Any, tmp_path: Path) -> None:
    """The comparison can fail."""
    config, *rest = arguments
    options = [*rest, "--trainer.enable_progress_bar=false", "--model.dropout=0.21"]
    other = study.train("lightning_tl", config, options, tmp_path / "run")
    assert study.compare(ours, other)["loss_error"] > 10 * study.LOSS_TOLERANCE
