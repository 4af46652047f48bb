"""Phases that cannot work are refused before training."""

from pathlib import Path

import pytest
from lightning.pytorch.demos.boring_classes import BoringModel
from training import PHASES, Fit, make_trainer

from lightning_tl import InputError


def test_max_epochs_beside_phases_must_agree(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"max_epochs: the phases last 4 epochs together. Received: 7"):
        fit(max_epochs=7)
    assert len(fit(max_epochs=4)[2].epochs) == 4


def test_a_phase_that_cannot_work_is_refused_before_training(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"unfreeze_last: timm/mobilenetv2_035 has 154 layers. Received: 155"):
        fit([PHASES[0], {**PHASES[1], "unfreeze_last": 155}])
    with pytest.raises(InputError, match=r"finetune: the cosine scheduler does not take scheduler_args"):
        fit([PHASES[0], {**PHASES[1], "scheduler": "cosine", "scheduler_args": {"gamma": 1}}])
    with pytest.raises(InputError, match=r"finetune: no optimizer at this class path"):
        fit([PHASES[0], {**PHASES[1], "optimizer": "torch.optim.Adum"}])
    with pytest.raises(InputError, match=r"finetune: early_stopping takes the arguments"):
        fit([PHASES[0], {**PHASES[1], "early_stopping": {"patient": 1}}])


def test_other_modules_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trains a TransferClassifier. Received: BoringModel"):
        make_trainer(tmp_path).fit(BoringModel())
