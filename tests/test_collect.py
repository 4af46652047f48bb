"""Predictions that come from processes of their own."""

import os
import signal
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from training import draw_images, make_data, make_model, make_trainer

from lightning_tl import ImageFolderDataModule
from lightning_tl.collect import predict_all
from lightning_tl.sigterm import EndPrediction


def attach_with_a_stray_file(trainer: lightning.Trainer, data: ImageFolderDataModule) -> None:
    """Leave a trainer as a fit does, and by then a file below the root that belongs to no class."""
    trainer.datamodule = data  # type: ignore[attr-defined]  # as Lightning does
    Path(str(data.options.root), "contact_sheet.jpg").write_text("no image")


def test_files_that_no_loader_reads_are_left_alone(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images", count=5))
    trainer = make_trainer(tmp_path)
    attach_with_a_stray_file(trainer, data)
    predictions = predict_all(trainer, make_model(data), tmp_path, dataloaders=[data.val_dataloader()])
    assert len(predictions.index) == 3
    assert trainer.datamodule is data  # type: ignore[attr-defined]


def test_spawned_processes_leave_the_model_with_the_weights_that_have_predicted(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images", count=5))
    model = make_model(data)
    here = make_trainer(tmp_path)
    expected = predict_all(here, model, tmp_path, dataloaders=[data.val_dataloader()])
    best = tmp_path / "best.ckpt"
    here.save_checkpoint(best)
    with torch.no_grad():
        model.head.weight.zero_()
    elsewhere = make_trainer(tmp_path, strategy="ddp_spawn", devices=1)
    attach_with_a_stray_file(elsewhere, data)
    options = {"dataloaders": [data.val_dataloader()], "ckpt_path": str(best), "weights_only": True}
    predictions = predict_all(elsewhere, model, tmp_path, **options)
    assert predictions.index.tolist() == expected.index.tolist()
    torch.testing.assert_close(predictions.probabilities, expected.probabilities)
    state = torch.load(best, weights_only=True)["state_dict"]
    assert model.head.weight.abs().max() > 0
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not list(tmp_path.glob(".*"))


def test_spawned_processes_make_the_folder_where_nothing_has_been_left_yet(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images", count=5))
    trainer = make_trainer(tmp_path, strategy="ddp_spawn", devices=1)
    folder = tmp_path / "runs" / "new"
    predictions = predict_all(trainer, make_model(data), folder, dataloaders=[data.val_dataloader()])
    assert len(predictions.index) == 3
    assert list(folder.iterdir()) == []


class ToldToEnd(Callback):
    """The process is told to end before a batch."""

    def __init__(self) -> None:
        self.batches = 0

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, *_: int) -> None:
        self.batches += 1
        if batch_idx == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_prediction_ends_after_the_batch_in_which_it_is_told_to(tmp_path: Path) -> None:
    """Lightning's own loop would go on to its end, and be killed."""
    data = make_data(draw_images(tmp_path / "images", count=10))
    told = ToldToEnd()
    trainer = make_trainer(tmp_path, callbacks=[told])
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SIGTERMException, match="ended by SIGTERM before its predictions were written"):
        predict_all(trainer, make_model(data), tmp_path, dataloaders=[data.train_dataloader()])
    assert told.batches == 2 < len(data.train_dataloader())
    assert signal.getsignal(signal.SIGTERM) == before
    assert not [callback for callback in trainer.callbacks if isinstance(callback, EndPrediction)]
    trainer.callbacks.remove(told)
    again = predict_all(trainer, make_model(data), tmp_path, dataloaders=[data.train_dataloader()])
    assert len(again.index) == 24
