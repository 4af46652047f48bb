"""A workplace, and the uninterrupted run that every interrupted one is held to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import write_workplace
from forked import Run, Starter
from training import PHASES

STOPS_AFTER_2 = {"patience": 1, "min_delta": 100.0}
HALVES_AFTER_2 = {"patience": 0, "factor": 0.5, "threshold": 100.0, "threshold_mode": "abs"}

CONFIG: dict[str, Any] = {
    "phases": [
        {**PHASES[0], "epochs": 5, "early_stopping": STOPS_AFTER_2},
        {**PHASES[1], "epochs": 3, "start_from": "best", "scheduler": "plateau", "scheduler_args": HALVES_AFTER_2},
    ],
    "trainer": {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accumulate_grad_batches": 2,
        "log_every_n_steps": 1,
    },
    "data": {"root": "images", "image_size": 32, "batch_size": 8, "num_workers": 0},
    "checkpoint_every_n_steps": 1,
}
"""Epochs 0 and 1 in the first phase, which early stopping ends, and 2 to 4 in the second, the last at half the rate.

36 images for training make 5 batches an epoch and, two to a step, 3 optimizer steps; ``last.ckpt`` is saved after
batches 1 and 3 and between epochs. 9 images for validation make 2 batches.
"""


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    folder = tmp_path_factory.mktemp("resume")
    write_workplace(folder, count=15, **CONFIG)
    starter = Starter(folder)
    yield starter
    starter.close()


@pytest.fixture(scope="session")
def whole(starter: Starter) -> Path:
    """The folder of the uninterrupted run."""
    run = Run(starter, "whole")
    run.process()
    return run.folder
