"""Phases of a module inside ``torch.compile``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from training import PHASES, EpochRecorder, make_data, make_model, make_trainer

FEW_LAYERS = "timm/test_efficientnet"
"""For torch.compile, which traces them one by one."""


@pytest.mark.parametrize("compiled", [False, True])
def test_compiled_modules_train_what_each_phase_says(images: Path, tmp_path: Path, compiled: bool) -> None:
    """A graph captured while the backbone was frozen would never train it."""
    lightning.seed_everything(0, verbose=False)
    data, recorder = make_data(images), EpochRecorder()
    module = make_model(data, backbone=FEW_LAYERS)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    trainer = make_trainer(tmp_path, callbacks=[recorder])
    trainer.fit(torch.compile(module, backend="eager") if compiled else module, data)
    changed = [key for key, value in module.state_dict().items() if not torch.equal(value, before[key])]
    assert sorted(changed) == sorted(recorder.epochs[-1]["trainable"])


def test_everything_compiled_is_compiled_anew_at_a_phase_change(images: Path, tmp_path: Path) -> None:
    """Even where no guard of the compiler asks for it: both phases train the same layers, validation trains none."""
    compiled: list[str] = []
    stage = "train"

    def counting(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        compiled.append(stage)
        return graph.forward

    class Stages(Callback):
        def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            nonlocal stage
            stage = f"validation {trainer.current_epoch}"

        def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            nonlocal stage
            stage = "train"

    data = make_data(images)
    module = make_model(data, backbone=FEW_LAYERS, augment=[])
    phases = [{**PHASES[0], "name": name, "epochs": 1} for name in ("one", "two")]
    trainer = make_trainer(tmp_path, phases, callbacks=[Stages()], num_sanity_val_steps=0, limit_train_batches=1)
    trainer.fit(torch.compile(module, backend=counting), data)
    assert {"validation 0", "validation 1"} <= set(compiled)
