"""A run on a GPU is that of the CPU; asked of the CPU itself too, so that the questions are right."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from training import PHASES, SMALL, Losses, draw_images, make_data, make_model, make_trainer

from lightning_tl.saving import RunCheckpointIO

RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "images on the device": {"data": {"cache": "device"}},
    "features kept": {"model": {"augment": [], "cache_features": True}},
}
needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
everywhere = pytest.mark.parametrize("accelerator", ["cpu", pytest.param("gpu", marks=needs_gpu)])


class NoWaiting(Callback):
    """Whatever waits for the GPU between the start of a training step and the optimizer's end is an error."""

    def on_train_batch_start(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")

    def on_exception(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


def fitted(
    folder: Path, accelerator: str, callback: Callback, data: Any = None, model: Any = None
) -> lightning.Trainer:
    """The trainer of a run through both phases; random weights are drawn on the CPU."""
    lightning.seed_everything(0, verbose=False)
    images = make_data(folder / "images", **(data or {}))
    plugins = [RunCheckpointIO()]
    trainer = make_trainer(folder, accelerator=accelerator, devices=1, callbacks=[callback], plugins=plugins)
    trainer.fit(make_model(images, **(model or {})), images)
    return trainer


@everywhere
@pytest.mark.parametrize("run", RUNS)
def test_a_run_is_that_of_the_cpu(accelerator: str, run: str, tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    here, there = Losses(), Losses()
    fitted(tmp_path, "cpu", here, **{"data": {"cache": "ram"}, **RUNS[run]})
    fitted(tmp_path, accelerator, there, **RUNS[run])
    assert len(there.values) == 2 * sum(phase["epochs"] for phase in PHASES)
    assert there.values == pytest.approx(here.values, rel=1e-3 if accelerator == "gpu" else 1e-6)


@everywhere
def test_what_it_has_saved_goes_on_on_a_cpu(accelerator: str, tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    path = tmp_path / "last.ckpt"
    fitted(tmp_path, accelerator, Losses()).save_checkpoint(path)
    data = make_data(tmp_path / "images")
    longer = [PHASES[0], {**PHASES[1], "epochs": PHASES[1]["epochs"] + 1}]
    losses = Losses()
    trainer = make_trainer(tmp_path, longer, callbacks=[losses], plugins=[RunCheckpointIO()])
    trainer.fit(make_model(data), data, ckpt_path=str(path), weights_only=True)
    assert len(losses.values) == 2
    assert trainer.current_epoch == 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_training_step_waits_for_nothing(tmp_path: Path) -> None:
    """So that the next one is prepared meanwhile."""
    draw_images(tmp_path / "images")
    fitted(tmp_path, "gpu", NoWaiting(), data={"cache": "device"}, model={"backbone": SMALL})
