"""Phases go on from a checkpoint."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from training import PHASES, EpochRecorder, Fit, make_data, make_model, make_trainer, phased

from lightning_tl import InputError


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
