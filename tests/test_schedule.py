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
        ("cosine", {"T_max": None}, "T_max must be a number, and is None"),
        ("cosine", {"eta_min": "low"}, "eta_min must be a number, and is 'low'"),
        ("cosine", {"last_epoch": 3}, "unexpected keyword argument 'last_epoch'"),
        ("cosine", {"monitor": "val_f1"}, "unexpected keyword argument 'monitor'"),
        ("plateau", {"patience": "2"}, "patience must be a number, and is '2'"),
        ("plateau", {"cooldown": True}, "cooldown must be a number, and is True"),
        ("plateau", {"mode": "auto"}, "mode auto is unknown"),
    ],
)
def test_arguments_that_would_fail_at_the_end_of_an_epoch_are_refused(
    scheduler: Any, options: dict[str, Any], message: str
) -> None:
    phase = Phase("tail", 3, 1e-3, scheduler=scheduler, scheduler_args=options)
    with pytest.raises(InputError, match=rf"^phases: tail: the {scheduler} scheduler does not take .*{message}"):
        build_scheduler(torch.optim.SGD([torch.zeros(1)]), phase)


def test_cosine_falls_over_the_phase_or_over_the_epochs_it_is_told() -> None:
    for options, epochs in (({}, 3), ({"T_max": 8}, 8)):
        phase = Phase("tail", 3, 1e-3, scheduler="cosine", scheduler_args=options)
        built = build_scheduler(torch.optim.SGD([torch.zeros(1)]), phase)
        assert built is not None
        assert built["scheduler"].T_max == epochs
