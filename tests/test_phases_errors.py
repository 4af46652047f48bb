"""Phases that cannot work are refused before training."""

from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, Callback, EMAWeightAveraging, StochasticWeightAveraging
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.tuner import Tuner
from training import PHASES, Fit, make_data, make_model, make_trainer, phased

from lightning_tl import InputError, PhasedFinetuning


def test_max_epochs_beside_phases_must_agree(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"max_epochs: the phases last 4 epochs together. Received: 7"):
        fit(max_epochs=7)
    assert len(fit(max_epochs=4)[2].epochs) == 4


def test_max_steps_beside_phases_is_refused(fit: Fit) -> None:
    """Lightning resumes such a run as if its last epoch were not over, and leaves the next one out."""
    with pytest.raises(InputError, match=r"trainer.max_steps: phases last whole epochs. Received: 6; leave max_steps"):
        fit(max_steps=6)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("early_stopping", {"early_stopping": {}}),
        ("scheduler: plateau", {"scheduler": "plateau"}),
        ("start_from: best", {"start_from": "best"}),
    ],
)
def test_what_goes_by_validation_is_refused_without_one(fit: Fit, argument: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"finetune: {argument} goes by validation, and trainer.limit_val_batches"):
        fit([PHASES[0], {**PHASES[1], **options}], limit_val_batches=0)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")
def test_what_goes_by_validation_is_refused_without_images_for_one(images: Path, tmp_path: Path) -> None:
    data = make_data(images)
    data.setup("fit")
    trainer = make_trainer(tmp_path, [{**PHASES[0], "early_stopping": {}}])
    with pytest.raises(InputError, match="head: early_stopping goes by validation, and fit was given no validation"):
        trainer.fit(make_model(data), data.train_dataloader())


@pytest.mark.parametrize(("every", "refused"), [(2, False), (3, True)])
def test_a_phase_without_an_epoch_to_validate_in_cannot_go_by_validation(fit: Fit, every: int, refused: bool) -> None:
    """The second phase has epochs 4 and 5 of the run: the second ends none of three."""
    phases = [{**PHASES[0], "epochs": 3}, {**PHASES[1], "epochs": 2, "early_stopping": {}}]
    if not refused:
        assert len(fit(phases, check_val_every_n_epoch=every)[2].epochs) == 5
        return
    with pytest.raises(InputError, match="finetune: early_stopping .* 3 has none in its epochs, 4 to 5 of the run"):
        fit(phases, check_val_every_n_epoch=every)


def test_float16_throughout_is_warned_of(fit: Fit) -> None:
    with pytest.warns(UserWarning, match="trainer.precision: 16-true: Adam's squares of small gradients are 0"):
        fit([{**PHASES[0], "epochs": 1}], precision="16-true", fast_dev_run=1)


def test_a_phase_that_was_not_validated_has_no_best(fit: Fit) -> None:
    phases = [{**PHASES[0], "epochs": 1}, {**PHASES[1], "start_from": "best"}]
    with pytest.warns(UserWarning, match=r"finetune: start_from: best: head has had no validation"):
        fit(phases, check_val_every_n_epoch=2)


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
    for name in ("patience", "min_delta", "stopping_threshold", "divergence_threshold"):
        with pytest.raises(InputError, match=rf"finetune: early_stopping.*{name} must be a finite number, .* 'abc'"):
            fit([PHASES[0], {**PHASES[1], "early_stopping": {name: "abc"}}])
    with pytest.raises(InputError, match=r"finetune: early_stopping.*patience must be a finite number, and is None"):
        fit([PHASES[0], {**PHASES[1], "early_stopping": {"patience": None}}])


def test_another_callback_that_unfreezes_is_refused(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"trainer.callbacks: BackboneFinetuning would freeze .*unfreeze_last"):
        fit(callbacks=[BackboneFinetuning()])


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
    phases, first = phased(trainer), phased(trainer).results()
    trainer.fit(make_model(data), data)
    assert [entry["epochs"] for entry in phases.results()] == [entry["epochs"] for entry in first] == [2]


def test_a_trainer_that_has_fitted_begins_with_the_first_phase_again(fit: Fit, images: Path) -> None:
    _, trainer, recorder = fit()
    data = make_data(images)
    trainer.fit(make_model(data), data)
    assert [len(epoch["trainable"]) for epoch in recorder.epochs] == [2, 2, 23, 23] * 2
    assert [(entry["name"], entry["epochs"]) for entry in phased(trainer).results()] == [("head", 2), ("finetune", 2)]


def test_a_fit_that_fails_leaves_the_trainer_as_it_was(images: Path, tmp_path: Path) -> None:
    trainer, data = make_trainer(tmp_path, callbacks=[Failing()]), make_data(images)
    with pytest.raises(RuntimeError, match="in the middle"):
        trainer.fit(make_model(data), data)
    assert trainer.max_epochs == -1
    (phases,) = (each for each in trainer.callbacks if isinstance(each, PhasedFinetuning))  # type: ignore[attr-defined]
    assert phases._trainer is None


def test_a_compiled_fit_that_fails_leaves_exports_the_weights_of_now(images: Path, tmp_path: Path) -> None:
    trainer, data = make_trainer(tmp_path, callbacks=[Failing()]), make_data(images)
    torch.compiler.reset()
    with pytest.raises(RuntimeError, match="in the middle"):
        trainer.fit(torch.compile(make_model(data), backend="eager"), data)  # type: ignore[arg-type]
    model, x = make_model(data).eval(), torch.rand(2, 3, 32, 32) * 255
    with torch.no_grad():
        model(x)
        for parameter in model.backbone.parameters():
            parameter.mul_(1.05)
        exported = torch.export.export(model, (x,)).module()
        torch.testing.assert_close(exported(x), model(x), rtol=1e-4, atol=1e-4)


class Failing(Callback):
    """Ends a fit by an error."""

    def on_train_batch_end(self, *args: object) -> None:
        """Raise it."""
        raise RuntimeError("in the middle")


class OneMore(Callback):
    """Adds an epoch, as callbacks do that think it theirs."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add it."""
        assert trainer.fit_loop.max_epochs is not None
        trainer.fit_loop.max_epochs += 1


def test_other_modules_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trains a TransferClassifier. Received: BoringModel"):
        make_trainer(tmp_path).fit(BoringModel())


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("early_stopping", {"early_stopping": {"monitor": "val_acc"}}),
        ("scheduler_args", {"scheduler": "plateau", "scheduler_args": {"monitor": "val_acc"}}),
    ],
)
def test_a_metric_that_nobody_logs_shows_at_the_first_validation(
    fit: Fit, argument: str, options: dict[str, object]
) -> None:
    """Not in the phase that goes by it, which may begin hours later, or never, as a plateau's does not care."""
    validations: list[int] = []
    seen = Callback()
    seen.on_validation_start = lambda trainer, module: validations.append(trainer.current_epoch)  # type: ignore[method-assign]
    message = rf"phases: finetune: {argument}: nothing is logged as val_acc. Logged: .*val_accuracy"
    with pytest.raises(InputError, match=message):
        fit([PHASES[0], {**PHASES[1], **options}], callbacks=[seen], num_sanity_val_steps=0)
    assert validations == [0]


@pytest.mark.parametrize("patience", [-1, 1.5])
def test_a_patience_that_counts_nothing_is_refused(patience: float) -> None:
    with pytest.raises(InputError, match="patience must be a number of validations, 0 or more, and is"):
        PhasedFinetuning([{**PHASES[0], "early_stopping": {"patience": patience}}])


@pytest.mark.parametrize("least", [-0.1, float("nan")])
def test_a_difference_below_zero_is_refused(least: float) -> None:
    """Keras would take its absolute value, Lightning would take what is worse for better."""
    with pytest.raises(InputError, match="early_stopping .*min_delta must be"):
        PhasedFinetuning([{**PHASES[0], "early_stopping": {"min_delta": least}}])


def test_a_learning_rate_is_searched_for_and_given_to_a_phase(images: Path, tmp_path: Path) -> None:
    """Lightning's tuner would write it to the model, whose optimizers have the phases' rates."""
    data = make_data(images)
    model, trainer = make_model(data), make_trainer(tmp_path)
    with pytest.raises(InputError, match=r"lr_find: learning rates are those of phases.*update_attr=False"):
        Tuner(trainer).lr_find(model, data)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer = make_trainer(tmp_path)
    found = Tuner(trainer).lr_find(model, data, num_training=6, update_attr=False, early_stop_threshold=None)
    assert found is not None
    assert found.results["lr"] == sorted(found.results["lr"])
    assert len(found.results["loss"]) == 6
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    trainer.fit(model, data)
    assert [entry["epochs"] for entry in phased(trainer).results()] == [2, 2]
