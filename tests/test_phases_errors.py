"""Phases that cannot work are refused before training."""

from pathlib import Path

import lightning
import pytest
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, StochasticWeightAveraging
from lightning.pytorch.demos.boring_classes import BoringModel
from training import PHASES, Fit, make_data, make_model, make_trainer

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
    for argument in ("early_stopping", "scheduler_args"):
        with pytest.raises(InputError, match=rf"{argument}: monitor: a metric of validation.*Received: 'train_loss'"):
            fit([PHASES[0], {**PHASES[1], argument: {"monitor": "train_loss"}}])
    with pytest.raises(InputError, match=r"finetune: early_stopping takes the arguments"):
        fit([PHASES[0], {**PHASES[1], "early_stopping": {"patient": 1}}])


def test_averaging_that_phases_do_not_go_with_is_refused(fit: Fit) -> None:
    """It estimates BatchNorm's statistics anew, in an epoch of its own; and averages are not what is kept as best."""
    with pytest.raises(InputError, match=r"StochasticWeightAveraging .* Take EMAWeightAveraging"):
        fit(callbacks=[StochasticWeightAveraging(1e-3, swa_epoch_start=1)])
    with pytest.raises(InputError, match=r"finetune: start_from: with weights averaged by a callback"):
        fit([PHASES[0], {**PHASES[1], "start_from": "best"}], callbacks=[EMAWeightAveraging(decay=0.9)])


def test_an_epoch_behind_the_last_phase_is_an_error(fit: Fit) -> None:
    """Not the end of the run, for which a loop takes StopIteration."""
    with pytest.raises(InputError, match=r"phases: they last 4 epochs, and epoch 5 has begun"):
        fit(callbacks=[OneMore()])


def test_a_trainer_that_was_told_nothing_can_fit_again_after_an_early_stop(images: Path, tmp_path: Path) -> None:
    stops = {**PHASES[0], "epochs": 3, "early_stopping": {"patience": 1, "min_delta": 100.0}}
    trainer, data = make_trainer(tmp_path, [stops]), make_data(images)
    trainer.fit(make_model(data), data)
    assert trainer.current_epoch == 2
    trainer.fit(make_model(data), data)


class OneMore(Callback):
    """Adds an epoch, as callbacks do that think it theirs."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add it."""
        assert trainer.fit_loop.max_epochs is not None
        trainer.fit_loop.max_epochs += 1


def test_other_modules_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trains a TransferClassifier. Received: BoringModel"):
        make_trainer(tmp_path).fit(BoringModel())
