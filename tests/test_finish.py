"""Which weights a finished fit evaluates: the best of its own, whatever else lies in its folder."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from training import PHASES, make_data, make_model, make_trainer

from lightning_tl import InputError, finish_fit
from lightning_tl.best_checkpoint import BestCheckpoint
from lightning_tl.finish import finish_predict
from lightning_tl.saving import LastCheckpoint


class Spoil(Callback):
    """Makes the last weights others than any that are saved: a head of ones."""

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        with torch.no_grad():
            pl_module.head.weight.fill_(1)


def fit_and_finish(
    images: Path, run: Path, *callbacks: Callback, resumed: Path | None = None, seed: int = 0, **options: Any
) -> Tensor:
    """The weights of the head that were evaluated in the end."""
    data = make_data(images)
    model = make_model(data, seed=seed)
    options = {"enable_checkpointing": bool(callbacks), **options}
    trainer = make_trainer(run, PHASES[:1], callbacks=[*callbacks, Spoil()], **options)
    trainer.fit(model, data, ckpt_path=resumed, weights_only=True)
    finish_fit(trainer, model, data, run, [{"name": "head", "epochs": 2}], pictures=False)
    return model.head.weight.detach()  # prediction has loaded what it was given


def head_of(checkpoint: Path) -> Tensor:
    head: Tensor = torch.load(checkpoint, weights_only=True)["state_dict"]["head.weight"]
    return head


@pytest.fixture
def run(images: Path, tmp_path: Path) -> Path:
    """The folder of a run that has kept its best and last checkpoint, and has evaluated the best."""
    folder = tmp_path / "checkpoints"
    evaluated = fit_and_finish(images, tmp_path, BestCheckpoint(folder), LastCheckpoint(folder))
    assert torch.equal(evaluated, head_of(folder / "best.ckpt"))
    return tmp_path


def test_a_fit_without_checkpoints_evaluates_its_last_weights(images: Path, run: Path) -> None:
    """Though the folder holds the best of another, and with what Lightning saves of its own accord."""
    with pytest.warns(
        UserWarning, match=r"best.ckpt is of another fit; the last weights of this one will be evaluated"
    ):
        evaluated = fit_and_finish(images, run)
    assert evaluated.eq(1).all()
    with pytest.warns(UserWarning, match="is of another fit"):
        evaluated = fit_and_finish(images, run, ModelCheckpoint(run / "checkpoints"))
    assert evaluated.eq(1).all()


@pytest.mark.parametrize("limit", [0, 1])
def test_all_images_of_the_split_are_evaluated_whatever_the_limit_of_a_prediction(
    images: Path, tmp_path: Path, limit: int
) -> None:
    data = make_data(images, batch_size=4)
    trainer = make_trainer(tmp_path, limit_predict_batches=limit)
    finish_fit(trainer, make_model(data), data, tmp_path, [], pictures=False)
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 1 + 6
    assert trainer.limit_predict_batches == limit


def test_a_prediction_of_nothing_is_refused(images: Path, tmp_path: Path) -> None:
    data = make_data(images)
    trainer = make_trainer(tmp_path, limit_predict_batches=0)
    with pytest.raises(InputError, match="trainer.limit_predict_batches: nothing would be predicted. Received: 0"):
        finish_predict(trainer, make_model(data), data, tmp_path)


def test_lightnings_own_callback_in_a_used_folder(images: Path, run: Path) -> None:
    """Lightning writes beside the best of the other fit."""
    best = ModelCheckpoint(run / "checkpoints", "best", monitor="val_loss")
    with pytest.warns(UserWarning, match=r"best.ckpt is of another fit; .*best-v1.ckpt will be evaluated"):
        evaluated = fit_and_finish(images, run, best)
    assert torch.equal(evaluated, head_of(run / "checkpoints" / "best-v1.ckpt"))


def test_the_run_folders_own_best_goes_before_others(images: Path, tmp_path: Path) -> None:
    other = ModelCheckpoint(tmp_path / "other", "highest", monitor="val_loss", mode="max")
    evaluated = fit_and_finish(images, tmp_path, other, BestCheckpoint(tmp_path / "checkpoints"))
    assert torch.equal(evaluated, head_of(tmp_path / "checkpoints" / "best.ckpt"))
    assert not torch.equal(evaluated, head_of(tmp_path / "other" / "highest.ckpt"))


def test_a_resumed_run_knows_its_best(images: Path, run: Path) -> None:
    """Even where nothing is left to train."""
    folder = run / "checkpoints"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*is of another fit")
        callbacks = (BestCheckpoint(folder), LastCheckpoint(folder))
        evaluated = fit_and_finish(images, run, *callbacks, resumed=folder / "last.ckpt")
    assert torch.equal(evaluated, head_of(folder / "best.ckpt"))


@pytest.mark.parametrize("there", ["nothing", "another run's", "no checkpoint"])
def test_a_run_that_goes_on_in_another_folder_knows_its_best(
    there: str, images: Path, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where nothing is left to train its best is in the old folder still, whatever lies in the new one."""
    new = tmp_path_factory.mktemp("new")
    best = new / "checkpoints" / "best.ckpt"
    if there == "another run's":
        fit_and_finish(images, new, BestCheckpoint(best.parent), seed=1)
    elif there == "no checkpoint":
        best.parent.mkdir()
        best.write_text("nothing of the kind")
    before = best.read_bytes() if best.exists() else b""
    callbacks = (BestCheckpoint(best.parent), LastCheckpoint(best.parent))
    resumed = run / "checkpoints" / "last.ckpt"
    expected = warnings.catch_warnings() if there == "nothing" else pytest.warns(UserWarning, match="is of another fit")
    with expected:
        evaluated = fit_and_finish(images, new, *callbacks, resumed=resumed)
    assert torch.equal(evaluated, head_of(run / "checkpoints" / "best.ckpt"))
    assert (best.read_bytes() if best.exists() else b"") == before


def test_a_run_whose_folder_was_moved_knows_its_best(
    images: Path, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Or copied: the old one may be another run's by now."""
    folder = tmp_path_factory.mktemp("moved") / "checkpoints"
    shutil.copytree(run / "checkpoints", folder)
    (run / "checkpoints" / "best.ckpt").write_text("of another")
    callbacks = (BestCheckpoint(folder), LastCheckpoint(folder))
    evaluated = fit_and_finish(images, folder.parent, *callbacks, resumed=folder / "last.ckpt")
    assert torch.equal(evaluated, head_of(folder / "best.ckpt"))


def test_processes_that_are_gone_have_left_their_best(images: Path, tmp_path: Path) -> None:
    """Of several callbacks Lightning brings home what the first knows."""
    other = ModelCheckpoint(tmp_path / "other", "any")
    callbacks = (other, BestCheckpoint(tmp_path / "checkpoints"))
    evaluated = fit_and_finish(images, tmp_path, *callbacks, strategy="ddp_spawn", devices=1)
    assert torch.equal(evaluated, head_of(tmp_path / "checkpoints" / "best.ckpt"))
