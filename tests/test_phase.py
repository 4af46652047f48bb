"""Phases as values: what they accept and how they complain."""

import pytest

from lightning_tl.errors import InputError
from lightning_tl.phase import Phase, make_phases

HEAD = {"name": "head", "epochs": 1, "lr": 1e-3}


def test_mappings_and_phases_mix() -> None:
    phases = make_phases([HEAD, Phase("finetune", 2, 1e-5, unfreeze_last=20)])
    assert [phase.name for phase in phases] == ["head", "finetune"]
    assert make_phases([phase.to_dict() for phase in phases]) == phases


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([], "phases: none given. Give at least one, for example"),
        ([HEAD, HEAD], "needs a name of its own. Received: head, head"),
        ([{**HEAD, "epoch": 2}], "unknown key epoch in"),
        ([{"name": "head"}], "missing epochs, lr in"),
        ([{**HEAD, "epochs": 0}], "epochs: at least 1 epoch is needed. Received: 0"),
        ([{**HEAD, "lr": -1.0}], "lr: a learning rate above 0 is needed. Received: -1.0"),
        ([{**HEAD, "unfreeze_last": -1}], "unfreeze_last: 0 or more is needed. Received: -1"),
        ([{**HEAD, "scheduler": "step"}], "scheduler: none, cosine or plateau is needed. Received: 'step'"),
        ([{**HEAD, "start_from": "first"}], "start_from: last or best is needed. Received: 'first'"),
        ([{**HEAD, "early_stopping": True}], "early_stopping: a mapping of arguments is needed. Received: True"),
        ([{**HEAD, "scale_lr": "cubic"}], "scale_lr: none, linear or sqrt is needed. Received: 'cubic'"),
        ([{**HEAD, "lr": float("inf")}], "lr: a learning rate above 0 is needed. Received: inf"),
        ([{**HEAD, "lr": True}], "lr: a learning rate above 0 is needed. Received: True"),
        ([{**HEAD, "epochs": True}], "epochs: at least 1 epoch is needed. Received: True"),
        ([{**HEAD, "scheduler_args": {"patience": 3}}], "scheduler_args: a scheduler to take them .* Received: 'none'"),
        ([{**HEAD, "name": 3}], "name: a name without slash is needed. Received: 3"),
        ([{**HEAD, "name": ""}], "name: a name without slash is needed. Received: ''"),
    ],
)
def test_bad_phases_are_refused(phases: list[dict[str, object]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_phases(phases)


def test_null_stands_for_no_arguments() -> None:
    assert Phase("head", epochs=1, lr=1e-3, scheduler="cosine", scheduler_args=None).scheduler_args == {}  # type: ignore[arg-type]


def test_learning_rates_are_scaled_where_that_is_asked_for_alone() -> None:
    rates = [Phase("p", 1, 0.5, scale_lr=how).lr_on(4) for how in ("none", "linear", "sqrt")]  # type: ignore[arg-type]
    assert rates == [0.5, 2.0, 1.0]
    assert Phase("p", 1, 0.5).lr_on(4) == 0.5
    assert Phase("p", 1, 0.5, scale_lr="linear").lr_on(1) == 0.5
