"""SIGTERM, which schedulers send before they take a machine away: the run saves, says so and continues later."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Run, Starter, at, check_same_run

TERM = int(signal.SIGTERM)
ENDED = 128 + TERM
ONLY_EPOCHS = ("--checkpoint_every_n_steps", "0")
WITH_WORKERS = ("--data.num_workers", "1", "--data.cache", "none")  # kept images need no workers


def steps(run: Run) -> int:
    """Optimizer steps that the last checkpoint has seen, three an epoch."""
    content = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)
    return int(content["global_step"])


MID_EPOCH = (at("on_train_batch_start", 1, 2, number=TERM, group=True), 5)
VALIDATING = (at("on_validation_batch_end", 2, 0, number=TERM, group=True), 9)
LAST_EPOCH = (at("on_validation_batch_end", 4, 1, number=TERM, group=True), 15)
"""When, and how many optimizer steps are saved: at the next step, between the epochs, at the end of training."""


@pytest.mark.parametrize(
    ("options", "moments"),
    [
        pytest.param(WITH_WORKERS, [MID_EPOCH, VALIDATING], id="with workers"),
        pytest.param((), [MID_EPOCH, VALIDATING, LAST_EPOCH], id="alone", marks=pytest.mark.slow),
    ],
)
def test_told_to_end(starter: Starter, whole: Path, options: Sequence[str], moments: Sequence[Any]) -> None:
    run = Run(starter, f"told {len(moments)}", (*ONLY_EPOCHS, *options))
    for moment, saved in moments:
        output = run.process(*moment, code=ENDED)
        assert "lightning-tl: ended by SIGTERM; " in output
        assert f"{run.root}/checkpoints/last.ckpt continues the run" in output
        assert "Traceback" not in output
        assert steps(run) == saved
    run.process()
    check_same_run(run.folder, whole)


def test_told_to_end_before_anything_is_trained(starter: Starter) -> None:
    run = Run(starter, "told early", ONLY_EPOCHS)
    output = run.process(*at("sanity_check", 0, 0, number=TERM), code=ENDED)
    assert "lightning-tl: ended by SIGTERM before the first checkpoint" in output
    assert not list(run.folder.glob("checkpoints/*"))
