"""Lightning's averaging of weights writes them through ``tensor.data``, which folded weights do not notice."""

from pathlib import Path
from typing import Any

import lightning
import pytest
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from training import fit_phases

PHASES: list[dict[str, Any]] = [
    {"name": "head", "epochs": 1, "lr": 1e-2},
    {"name": "finetune", "epochs": 1, "lr": 0.1, "unfreeze_last": 20},
    {"name": "head again", "epochs": 2, "lr": 1e-2},
]
"""What the second trains, the third freezes again while its average is still on its way."""


class Validated(Callback):
    """The losses of validation."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note one."""
        if not trainer.sanity_checking:
            self.losses.append(float(trainer.callback_metrics["val_loss"]))


def losses(images: Path, folder: Path, **model: Any) -> list[float]:
    validated = Validated()
    averaging = EMAWeightAveraging(decay=0.8)
    fit_phases(images, folder, PHASES, model, callbacks=[averaging, validated])
    return validated.losses


def test_the_averages_are_what_is_evaluated(images: Path, tmp_path: Path) -> None:
    found = losses(images, tmp_path / "folded", fold_batchnorm=True)
    assert len(found) == 4
    assert found == pytest.approx(losses(images, tmp_path / "plain", fold_batchnorm=False), rel=1e-4)


def test_features_of_averages_before_are_not_kept(images: Path, tmp_path: Path) -> None:
    found = losses(images, tmp_path / "kept", augment=[], cache_features=True)
    assert found == pytest.approx(losses(images, tmp_path / "plain", augment=[]), rel=1e-4)
