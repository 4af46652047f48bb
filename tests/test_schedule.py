"""Schedulers of a phase: what they do not take is said before they are stepped."""

from typing import Any

import pytest
import torch

from lightning_tl.errors import InputError
from lightning_tl.phase import Phase
from lightning_tl.schedule import build_scheduler


@pytest.mark.parametrize(
    ("scheduler", "options", "message"),
    [
        ("cosine", {"T_max": 0}, "T_max must be above 0, and is 0"),
        ("cosine", {"T_max": -5}, "T_max must be above 0, and is -5"),
        ("cosine", {"T_max": None}, "T_max must be a finite number, and is None"),
        ("cosine", {"eta_min": "low"}, "eta_min must be a finite number, and is 'low'"),
        ("cosine", {"last_epoch": 3}, "last_epoch must be -1, .* and is 3"),
        ("cosine", {"patience": 3}, "unexpected keyword argument 'patience'"),
        ("plateau", {"min_lr": [1e-6, 1e-7]}, "min_lr must be a finite number, and is"),
        ("plateau", {"patience": "2"}, "patience must be a finite number, and is '2'"),
        ("plateau", {"cooldown": True}, "cooldown must be a finite number, and is True"),
        ("plateau", {"mode": "auto"}, "mode auto is unknown"),
        ("plateau", {"patience": -1}, "patience must be a number of epochs, 0 or more, and is -1"),
        ("plateau", {"patience": 1.5}, "patience must be a number of epochs, 0 or more, and is 1.5"),
        ("plateau", {"cooldown": -2}, "cooldown must be a number of epochs, 0 or more, and is -2"),
        ("plateau", {"factor": -1.0}, "factor must lie between 0 and 1, and is -1.0"),
        ("plateau", {"factor": 1}, "factor must lie between 0 and 1, and is 1"),
        ("plateau", {"threshold": float("nan")}, "threshold must be a finite number, and is nan"),
    ],
)
def test_arguments_that_would_fail_at_the_end_of_an_epoch_are_refused(
    scheduler: Any, options: dict[str, Any], message: str
) -> None:
    phase = Phase("tail", 3, 1e-3, scheduler=scheduler, scheduler_args=options)
    with pytest.raises(InputError, match=rf"^phases: tail: the {scheduler} scheduler does not take .*{message}"):
        build_scheduler(torch.optim.SGD([torch.zeros(1)]), phase)


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [("cosine", {"monitor": "val_f1", "last_epoch": -1}), ("plateau", {"min_lr": [1e-6], "monitor": "val_f1"})],
)
def test_what_runs_have_begun_with_they_go_on_with(scheduler: Any, options: dict[str, Any]) -> None:
    phase = Phase("tail", 3, 1e-3, scheduler=scheduler, scheduler_args=options)
    assert build_scheduler(torch.optim.SGD([torch.zeros(1)]), phase) is not None


def test_cosine_falls_over_the_phase_or_over_the_epochs_it_is_told() -> None:
    for options, epochs in (({}, 3), ({"T_max": 8}, 8)):
        phase = Phase("tail", 3, 1e-3, scheduler="cosine", scheduler_args=options)
        built = build_scheduler(torch.optim.SGD([torch.zeros(1)]), phase)
        assert built is not None
        assert built["scheduler"].T_max == epochs
