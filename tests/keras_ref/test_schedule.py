"""Schedules and early stopping where a value is no number, or an argument is none: as in lightning_tl."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_tl.errors import InputError
from lightning_tl.phase import Phase
from lightning_tl.schedule import build_scheduler
from lightning_tl.stopping import PhaseStopping

PHASE = {"name": "p", "epochs": 8, "lr": 0.01}
PATIENT = {**PHASE, "early_stopping": {"patience": 3}}
RISING = {**PHASE, "early_stopping": {"monitor": "val_f1", "patience": 3}}
HALVED = {**PHASE, "scheduler": "plateau", "scheduler_args": {"patience": 1, "factor": 0.5}}
ABSOLUTE = {**HALVED, "scheduler_args": {**HALVED["scheduler_args"], "threshold_mode": "abs"}}  # type: ignore[dict-item]
FLOOR = {**HALVED, "scheduler_args": {**HALVED["scheduler_args"], "patience": 0, "min_lr": 0.004}}  # type: ignore[dict-item]
NO_SMALL_CHANGE = {**HALVED, "scheduler_args": {**HALVED["scheduler_args"], "patience": 0, "eps": 0.003}}  # type: ignore[dict-item]
UPWARDS = {**HALVED, "scheduler_args": {**HALVED["scheduler_args"], "mode": "max"}}  # type: ignore[dict-item]
SEQUENCES = [
    [math.nan, 1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7],
    [math.inf, 1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7],
    [1.0, 0.9, math.nan, 0.8, 0.9, -math.inf, 0.7, 0.6],
    [1.0, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8],
]
REFUSED = [
    {**PHASE, "scheduler": "cosine", "scheduler_args": {"T_max": 0}},
    {**PHASE, "scheduler": "cosine", "scheduler_args": {"T_max": None}},
    {**PHASE, "scheduler": "cosine", "scheduler_args": {"eta_min": "low"}},
    {**PHASE, "scheduler": "cosine", "scheduler_args": {"last_epoch": 3}},
    {**PHASE, "scheduler": "cosine", "scheduler_args": {"patience": 3}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"threshold": "0.1"}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"mode": "auto"}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"threshold_mode": "relative"}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"patience": -1}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"cooldown": 1.5}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"factor": -1.0}},
    {**PHASE, "scheduler": "plateau", "scheduler_args": {"min_lr": math.nan}},
]
NEVER_STOPPING = [
    {"patience": "abc"}, {"min_delta": None}, {"mode": "up"}, {"patience": True}, {"patience": -1}, {"patience": 1.5},
    {"min_delta": -0.1},
]  # fmt: skip
WORKER = """
import json, sys
sys.path.insert(0, "tests/keras_ref")
from keras_worker import schedule
from keras_ref.errors import InputError
from keras_ref.phase import Phase
from keras_ref.schedule import build_early_stopping, build_scheduler

asked, refused = json.loads(sys.argv[1])

def told(phase):
    try:
        return f"built {build_scheduler(Phase(**phase))} {build_early_stopping(Phase(**phase))}"
    except InputError as error:
        return str(error)

answers = [schedule(Phase(**phase), values) for phase, values in asked]
print(json.dumps([answers, [told(phase) for phase in refused]]))
"""


def test_not_finite_values_and_refused_arguments_are_those_of_lightning_tl(python: Any, tmp_path: Path) -> None:
    pytest.importorskip("keras")
    phases = (PATIENT, RISING, HALVED, ABSOLUTE, UPWARDS, FLOOR, NO_SMALL_CHANGE)
    asked = [(phase, values) for phase in phases for values in SEQUENCES]
    stopping = [{**PHASE, "early_stopping": options} for options in NEVER_STOPPING]
    done = python(["-c", WORKER, json.dumps([asked, REFUSED + stopping])], tmp_path, KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr
    answers, told = json.loads(done.stdout.splitlines()[-1])
    for (phase, values), answer in zip(asked, answers, strict=True):
        expected = _stopped(phase, values) if "early_stopping" in phase else _rates(phase, values)
        assert answer["rates" if isinstance(expected, list) else "epochs"] == pytest.approx(expected, rel=1e-5), values
    for phase, least in ((FLOOR, 0.004), (NO_SMALL_CHANGE, 0.005)):
        rates = [answer["rates"] for (asked_of, _), answer in zip(asked, answers, strict=True) if asked_of is phase]
        assert min(map(min, rates)) == pytest.approx(least)
    for phase, message in zip(stopping, told[len(REFUSED) :], strict=True):
        assert message.startswith("phases: p: early_stopping: "), phase
        with pytest.raises(InputError, match=r"^phases: p: early_stopping takes the arguments"):
            PhaseStopping(Phase(**phase))
    for phase, message in zip(REFUSED, told[: len(REFUSED)], strict=True):
        assert message.startswith(f"phases: p: the {phase['scheduler']} scheduler does not take scheduler_args")
        with pytest.raises(InputError, match=f"the {phase['scheduler']} scheduler does not take"):
            build_scheduler(torch.optim.SGD([torch.zeros(1)]), Phase(**phase))


def _stopped(phase: dict[str, Any], values: list[float]) -> int:
    """How many epochs the phase lasts."""
    stopper = PhaseStopping(Phase(**phase))._stopper
    assert stopper is not None
    decisions = [stopper._evaluate_stopping_criteria(torch.tensor(value))[0] for value in values]
    return decisions.index(True) + 1 if True in decisions else len(values)


def _rates(phase: dict[str, Any], values: list[float]) -> list[float]:
    """The learning rate of each epoch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=phase["lr"])
    config = build_scheduler(optimizer, Phase(**phase))
    assert config is not None
    rates = []
    for value in values:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        config["scheduler"].step(value)
    return rates
