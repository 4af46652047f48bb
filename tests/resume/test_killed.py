"""``kill -9`` at any moment, and the run that continues from the last checkpoint ends as if nothing had happened."""

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from forked import Run, Starter, at, check_same_run

KILLED = -signal.SIGKILL

IN_TRAINING = [
    at("on_train_batch_end", 0, 0),  # no checkpoint yet: again from the start
    at("on_validation_batch_end", 0, 1),
    at("on_train_batch_end", 1, 2),  # half of an optimizer step's gradients are added up
    at("on_train_batch_end", 1, 4),  # all trained, nothing validated; early stopping knows the epoch before
    at("on_train_epoch_start", 2),  # the first phase is over, last.ckpt is of its middle
    at("on_train_batch_start", 2, 0),  # last.ckpt is of the second phase, which has done nothing
    at("on_validation_batch_end", 2, 0),
    at("on_train_batch_start", 3, 3),  # the plateau knows the epoch before
    at("on_train_batch_end", 4, 4),
]


def test_killed_while_it_trains(starter: Starter, whole: Path) -> None:
    """One run, killed in both phases and between them."""
    run = Run(starter, "training")
    for moment in IN_TRAINING:
        run.process(*moment, code=KILLED)
    run.process()
    check_same_run(run.folder, whole)


def test_killed_while_it_writes(starter: Starter, whole: Path) -> None:
    """One run, killed at every step of replacing a file."""
    run = Run(starter, "writing")
    run.process(moment=before("os.rename", "last.ckpt", 2), code=KILLED)
    (half_done,) = (run.folder / "checkpoints").glob(".last.*.ckpt")
    last = run.folder / "checkpoints" / "last.ckpt"
    half = {"write": last.stat().st_size // 2}
    run.process(moment={**before("os.link", ".previous.ckpt", 2), **half}, code=-signal.SIGXFSZ)
    assert not half_done.exists(), "what a killed process has left is cleaned up"
    (half_done,) = (run.folder / "checkpoints").glob(".last.*.ckpt")
    assert half_done.stat().st_size == half["write"]
    run.process(moment=before("os.rename", "previous.ckpt", 2), code=KILLED)
    assert last.samefile(last.with_name(".previous.ckpt"))
    run.process(moment=before("os.rename", "best.ckpt", 1), code=KILLED)
    run.process(moment={**before("os.rename", "previous.ckpt", 3), **half}, code=-signal.SIGXFSZ)
    run.process(moment=before("os.rename", "metrics.csv", 1), code=KILLED)
    run.process(moment=before("os.rename", "predictions.csv", 1), code=KILLED)
    assert "Trainer.fit" in run.process(), "training is over and nothing is trained again"
    check_same_run(run.folder, whole)
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert "ckpt_path" not in config, "the config of a resumed run runs it again from the start"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--trainer.val_check_interval", "0.4", "--trainer.accumulate_grad_batches", "1"),
        ("--trainer.check_val_every_n_epoch", "2"),
        ("--trainer.limit_train_batches", "3"),
    ],
    ids=lambda options: options[0].rpartition(".")[2],
)
def test_killed_where_epochs_and_validations_do_not_coincide(starter: Starter, options: tuple[str, ...]) -> None:
    """The plateau watches a loss that is older than its epoch; and no validation is left out or done twice."""
    name = options[0].rpartition(".")[2]
    whole, run = Run(starter, f"{name} whole", options), Run(starter, name, options)
    whole.process()
    for moment in (at("on_train_batch_end", 0, 2), at("on_train_batch_start", 2, 2), at("on_train_batch_end", 3, 2)):
        run.process(*moment, code=KILLED)
    run.process()
    check_same_run(run.folder, whole.folder)


def before(event: str, name: str, count: int) -> dict[str, Any]:
    """A moment for ``moments.plant``."""
    return {"event": event, "name": name, "count": count}
