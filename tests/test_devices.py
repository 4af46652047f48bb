"""Rates that are scaled for the number of devices, where that changes."""

import warnings
from pathlib import Path

import pytest
import torch
from training import PHASES, Fit

from lightning_tl import Phase
from lightning_tl.devices import tell_kept_rate


@pytest.mark.parametrize(
    ("scaling", "before", "told"),
    [("linear", 1, True), ("sqrt", 1, True), ("linear", 2, False), ("none", 1, False), ("linear", None, False)],
)
def test_a_phase_that_keeps_its_rate_on_other_devices_is_told_of(scaling: str, before: int | None, told: bool) -> None:
    phase = Phase("head", epochs=1, lr=1e-3, scale_lr=scaling)  # type: ignore[arg-type]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tell_kept_rate(phase, before, 2)
    messages = [str(each.message) for each in said]
    assert bool(messages) is told
    assert all("head: scale_lr: it has begun on 1 devices and keeps its rate of 0.001" in each for each in messages)


def test_a_checkpoint_knows_on_how_many_devices_its_phase_began(fit: Fit, tmp_path: Path) -> None:
    _, trainer, _ = fit(PHASES[:1])
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    state = torch.load(tmp_path / "a.ckpt", weights_only=True)["callbacks"]["PhasedFinetuning"]
    assert state["devices"] == 1
