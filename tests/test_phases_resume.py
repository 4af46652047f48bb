"""Phases go on from a checkpoint."""

import shutil
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from training import PHASES, EpochRecorder, Fit, make_data, make_model, make_trainer, phased

from lightning_tl import InputError, Phase
from lightning_tl.saving import LastCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks")
"""Whatever saved need not save again."""


@pytest.mark.parametrize("stopped", [False, True], ids=["planned", "stopped early"])
def test_resuming_continues_phase_optimizer_and_record(fit: Fit, images: Path, tmp_path: Path, stopped: bool) -> None:
    """From the checkpoint of every epoch, the rest of the run is the uninterrupted one, bit for bit."""
    head = {**PHASES[0], "epochs": 2}
    if stopped:
        head |= {"epochs": 5, "early_stopping": {"patience": 1, "min_delta": 100.0}}
    phases = [head, PHASES[1]]
    save = ModelCheckpoint(tmp_path / "saved", filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    module, trainer, recorder = fit(phases, callbacks=[save], enable_checkpointing=True)
    for epoch in range(4):
        data = make_data(images)
        resumed, rest = make_model(data, seed=0), EpochRecorder()
        saving = ModelCheckpoint(
            tmp_path / "saved",
            filename="{epoch}",
            save_top_k=-1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        again = make_trainer(tmp_path, phases, callbacks=[rest, saving], enable_checkpointing=True)
        again.fit(resumed, data, ckpt_path=str(tmp_path / "saved" / f"epoch={epoch}.ckpt"), weights_only=True)
        assert rest.losses == recorder.losses[epoch + 1 :]
        assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), module.parameters(), strict=True))
        assert [(e["name"], e["epochs"], e["val_loss"]) for e in phased(again).results()] == [
            (e["name"], e["epochs"], e["val_loss"]) for e in phased(trainer).results()
        ]


def test_resuming_from_every_step_is_the_uninterrupted_run(fit: Fit, images: Path, tmp_path: Path) -> None:
    """Also after the last batch of an epoch, or of a phase: Lightning then leaves the epoch's start out."""
    save = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    module, _, recorder = fit(callbacks=[save], enable_checkpointing=True)
    steps = len(list(tmp_path.glob("*.ckpt")))
    assert steps == 12
    for step in range(1, steps + 1):
        data, rest = make_data(images), EpochRecorder()
        resumed = make_model(data, seed=0)
        again = make_trainer(tmp_path, callbacks=[rest])
        again.fit(resumed, data, ckpt_path=str(tmp_path / f"step={step}.ckpt"), weights_only=True)
        done = step * 4 // steps
        assert rest.losses == recorder.losses[done:], step
        assert [len(epoch["trainable"]) for epoch in rest.epochs] == [2, 2, 23, 23][done:]
        assert [(entry["name"], entry["epochs"]) for entry in phased(again).results()] == [("head", 2), ("finetune", 2)]
        assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), module.parameters(), strict=True))


def begun(fit: Fit, folder: Path, phases: list[dict[str, Any]], epoch: int) -> Path:
    """The checkpoint of the end of an epoch of a run."""
    save = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    fit(phases, callbacks=[save], enable_checkpointing=True)
    return folder / f"epoch={epoch}.ckpt"


def resume(
    images: Path, folder: Path, phases: list[dict[str, Any]], checkpoint: Path, **options: Any
) -> tuple[lightning.Trainer, EpochRecorder]:
    """The rest of a run, with these phases."""
    rest, data = EpochRecorder(), make_data(images)
    trainer = make_trainer(folder, phases, callbacks=[rest], **options)
    trainer.fit(make_model(data), data, ckpt_path=str(checkpoint), weights_only=True)
    return trainer, rest


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_phase_can_be_cut_short_where_it_is(fit: Fit, images: Path, tmp_path: Path, epochs: int) -> None:
    """What follows has all of its own epochs."""
    checkpoint = begun(fit, tmp_path, [{**PHASES[0], "epochs": 4}, PHASES[1]], epoch=1)
    cosine = {**PHASES[1], "scheduler": "cosine"}
    trainer, rest = resume(images, tmp_path, [{**PHASES[0], "epochs": epochs}, cosine], checkpoint)
    assert [len(epoch["trainable"]) for epoch in rest.epochs] == [23, 23]
    assert [epoch["lr"] for epoch in rest.epochs] == pytest.approx([PHASES[1]["lr"] / 2, 0.0])  # after the epoch's step
    assert [(entry["name"], entry["epochs"]) for entry in phased(trainer).results()] == [("head", 2), ("finetune", 2)]


def test_an_epoch_belongs_to_the_phase_in_which_it_began(fit: Fit, images: Path, tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    fit([{**PHASES[0], "epochs": 4}, PHASES[1]], callbacks=[save], enable_checkpointing=True)
    trainer, rest = resume(images, tmp_path, [{**PHASES[0], "epochs": 1}, PHASES[1]], tmp_path / "step=4.ckpt")
    assert [len(epoch["trainable"]) for epoch in rest.epochs] == [2, 23, 23]
    assert [(entry["name"], entry["epochs"]) for entry in phased(trainer).results()] == [("head", 2), ("finetune", 2)]


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("lr", {"lr": 1e-4}),
        ("optimizer", {"optimizer": "torch.optim.SGD"}),
        ("unfreeze_last", {"unfreeze_last": 2}),
        ("scheduler", {"scheduler": "plateau"}),
        ("scheduler_args", {"scheduler_args": {"eta_min": 1e-5}}),
        ("scale_lr", {"scale_lr": "linear"}),
        ("epochs", {"epochs": 5}),
    ],
)
def test_settings_that_a_checkpoint_brings_cannot_change(
    fit: Fit, images: Path, tmp_path: Path, argument: str, changes: dict[str, Any]
) -> None:
    """A phase that has begun; one that has not, can."""
    head = {**PHASES[0], "epochs": 3, "scheduler": "cosine"}
    checkpoint = begun(fit, tmp_path, [head, PHASES[1]], epoch=0)
    with pytest.raises(InputError, match=rf"phases: head: {argument}: the checkpoint has begun the phase with "):
        resume(images, tmp_path, [{**head, **changes}, PHASES[1]], checkpoint)
    following = {**PHASES[1], "scheduler": "cosine", **changes, "unfreeze_last": 2, "scale_lr": "none"}
    resume(images, tmp_path, [head, following], checkpoint)


def test_the_same_settings_in_another_form_are_the_same() -> None:
    phase = Phase("head", 1, 1e-3, optimizer="torch.optim.SGD", scheduler="plateau", early_stopping={"patience": 2})
    forms = {
        "optimizer": {"class_path": "torch.optim.SGD", "init_args": {}},
        "scheduler_args": {"monitor": "val_loss", "mode": "min"},
        "early_stopping": {"patience": 3, "monitor": "val_loss"},
    }
    phase.check_continues({**phase.to_dict(), **forms})
    assert phase.watches_as(forms | {"optimizer": phase.optimizer, "scheduler": "plateau"})
    adam = {"class_path": "lightning_tl.optim.KerasAdam", "init_args": {"betas": (0.9, 0.99)}}
    listed = {"class_path": "lightning_tl.optim.KerasAdam", "init_args": {"betas": [0.9, 0.99]}}
    phase = Phase("head", 1, 1e-3, optimizer=adam, early_stopping={"monitor": "val_accuracy"})
    phase.check_continues({**phase.to_dict(), "optimizer": listed})
    assert phase.watches_as({**phase.to_dict(), "early_stopping": {"monitor": "val_accuracy", "mode": "max"}})
    assert not phase.watches_as({**phase.to_dict(), "early_stopping": {"monitor": "val_accuracy", "mode": "min"}})


def test_loaders_made_before_the_trainer_resume_too(fit: Fit, images: Path, tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    module, _, recorder = fit(callbacks=[save], enable_checkpointing=True)
    data, rest = make_data(images), EpochRecorder()
    resumed, trainer = make_model(data, seed=0), make_trainer(tmp_path, callbacks=[rest])
    loaders = (data.train_dataloader(), data.val_dataloader())
    trainer.fit(resumed, *loaders, ckpt_path=str(tmp_path / "step=4.ckpt"), weights_only=True)
    assert rest.losses == recorder.losses[1:]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), module.parameters(), strict=True))


def test_patience_is_that_of_now(fit: Fit, images: Path, tmp_path: Path) -> None:
    stopping = {"patience": 3, "min_delta": 100.0}
    head = {**PHASES[0], "epochs": 9, "early_stopping": stopping}
    checkpoint = begun(fit, tmp_path, [head], epoch=1)  # one epoch of patience has been used
    for patience, epochs in ((2, 3), (3, 4), (5, 6)):
        changed = {**head, "early_stopping": {**stopping, "patience": patience}}
        trainer, _ = resume(images, tmp_path, [changed], checkpoint)
        assert trainer.current_epoch == epochs


def test_the_best_of_another_metric_is_none(fit: Fit, images: Path, tmp_path: Path) -> None:
    """No accuracy reaches a loss above 1, so that it would seem to get no better from the first epoch on."""
    head = {**PHASES[0], "epochs": 1, "lr": 1e-9, "early_stopping": {"patience": 1}}
    checkpoint = begun(fit, tmp_path, [head], epoch=0)
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["PhasedFinetuning"]
    assert state["stopper"]["best_score"] > 1
    changed = {**head, "epochs": 3, "early_stopping": {"patience": 1, "monitor": "val_accuracy"}}
    trainer, _ = resume(images, tmp_path, [changed], checkpoint)
    assert trainer.current_epoch == 3


def test_a_phase_that_early_stopping_has_ended_goes_on_without_it(fit: Fit, images: Path, tmp_path: Path) -> None:
    head, finetune = {**PHASES[0], "epochs": 3}, {**PHASES[1], "epochs": 1}
    stopping = {**head, "early_stopping": {"patience": 1, "min_delta": 100.0}}
    checkpoint = begun(fit, tmp_path, [stopping, finetune], epoch=1)
    for phase, epochs in ((stopping, [23]), (head, [2, 23])):
        _, rest = resume(images, tmp_path, [phase, finetune], checkpoint)
        assert [len(epoch["trainable"]) for epoch in rest.epochs] == epochs


@pytest.mark.parametrize("patience", [5, None], ids=["early stopping", "without"])
def test_a_run_that_is_over_goes_on_with_more_epochs(
    fit: Fit, images: Path, tmp_path: Path, patience: int | None
) -> None:
    """A phase that came to its planned end was not stopped early."""
    stop = {} if patience is None else {"early_stopping": {"patience": patience}}
    save = ModelCheckpoint(tmp_path / "saved", save_last=True)
    fit([PHASES[0], {**PHASES[1], **stop}], callbacks=[save], enable_checkpointing=True)
    longer, rest, data = [PHASES[0], {**PHASES[1], **stop, "epochs": 4}], EpochRecorder(), make_data(images)
    again = ModelCheckpoint(tmp_path / "saved", save_last=True)
    trainer = make_trainer(tmp_path, longer, callbacks=[rest, again], enable_checkpointing=True)
    trainer.fit(make_model(data), data, ckpt_path=str(tmp_path / "saved" / "last.ckpt"), weights_only=True)
    assert len(rest.losses) == 2
    assert trainer.current_epoch == 6


def test_resuming_with_other_phases_is_refused(fit: Fit, images: Path, tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path / "saved", save_last=True)
    fit(callbacks=[save], enable_checkpointing=True)
    data = make_data(images)
    phases = [{**PHASES[0], "name": "warmup"}, PHASES[1]]
    again = ModelCheckpoint(tmp_path / "again", save_last=True)
    trainer = make_trainer(tmp_path, phases, callbacks=[again], enable_checkpointing=True)
    with pytest.raises(InputError, match="the checkpoint has been through head, finetune; the config says warmup"):
        trainer.fit(make_model(data), data, ckpt_path=str(tmp_path / "saved" / "last.ckpt"), weights_only=True)


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned on metric val_loss which is not available")
def test_a_plateau_takes_no_metric_for_new_that_it_has_seen_before_the_resume(
    fit: Fit, images: Path, tmp_path: Path
) -> None:
    options = {"patience": 0, "factor": 0.5, "threshold": 100.0, "threshold_mode": "abs"}  # no improvement ever
    phases = [{**PHASES[0], "epochs": 6, "lr": 1e-3, "scheduler": "plateau", "scheduler_args": options}]

    class Copies(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0 and trainer.current_epoch:  # after the checkpoint between two epochs
                shutil.copy(tmp_path / "last.ckpt", tmp_path / f"{trainer.current_epoch}.ckpt")

    saving = [LastCheckpoint(tmp_path), Copies()]
    _, _, recorder = fit(phases, callbacks=saving, enable_checkpointing=True, check_val_every_n_epoch=2)
    rates = [epoch["lr"] for epoch in recorder.epochs]
    assert rates == [*[1e-3] * 4, *[5e-4] * 2]
    for epoch in range(1, 6):
        data, rest = make_data(images), EpochRecorder()
        callbacks = [rest, LastCheckpoint(tmp_path / "again")]
        again = make_trainer(
            tmp_path, phases, callbacks=callbacks, check_val_every_n_epoch=2, enable_checkpointing=True
        )
        again.fit(make_model(data, seed=0), data, ckpt_path=str(tmp_path / f"{epoch}.ckpt"), weights_only=True)
        assert [entry["lr"] for entry in rest.epochs] == rates[epoch:], epoch


def test_a_checkpoint_of_a_training_without_phases_is_no_phases(images: Path, tmp_path: Path) -> None:
    """Its optimizer would go on at its own rate, whatever the phase's is."""
    data = make_data(images)
    alone = make_trainer(tmp_path, max_epochs=1)
    alone.callbacks = [each for each in alone.callbacks if each is not phased(alone)]  # type: ignore[attr-defined]
    alone.fit(make_model(data), data)
    alone.save_checkpoint(tmp_path / "alone.ckpt")
    with pytest.raises(InputError, match=r"^ckpt_path: the checkpoint was written by a training without PhasedFinetun"):
        resume(images, tmp_path, PHASES, tmp_path / "alone.ckpt")


def test_best_weights_that_were_not_kept_are_not_started_from(fit: Fit, images: Path, tmp_path: Path) -> None:
    """A phase that is added on resuming may start from the last ones."""
    head = {**PHASES[0], "epochs": 2}
    checkpoint, added = begun(fit, tmp_path, [head], 1), {**PHASES[1], "epochs": 1}
    with pytest.raises(
        InputError, match=r"finetune: start_from: best: the checkpoint has not kept the best .* of head"
    ):
        resume(images, tmp_path, [head, {**added, "start_from": "best"}], checkpoint)
    assert len(resume(images, tmp_path, [head, added], checkpoint)[1].epochs) == 1
