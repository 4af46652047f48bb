"""``kill -9`` at any moment, and the run that continues from the last checkpoint ends as if nothing had happened."""

import signal
from pathlib import Path

from forked import Run, Starter, at, check_same_run

KILLED = -signal.SIGKILL

IN_TRAINING = [
    at("on_train_batch_end", 0, 0),  # no checkpoint yet: again from the start
    at("on_validation_batch_end", 0, 1),
    at("on_train_batch_start", 1, 2),
    at("on_train_batch_end", 1, 2),  # half of an optimizer step's gradients are added up
    at("on_train_batch_end", 2, 4),  # all trained, nothing validated; early stopping has counted to 1
    at("on_train_epoch_start", 3),  # the first phase is over, last.ckpt is of its middle
    at("on_train_batch_start", 3, 0),  # last.ckpt is of the second phase, which has done nothing
    at("on_train_batch_end", 3, 3),
    at("on_validation_batch_end", 4, 0),
    at("on_train_batch_start", 5, 3),  # the plateau has counted to 1
    at("on_train_batch_end", 6, 4),
]


def test_killed_while_it_trains(starter: Starter, whole: Path) -> None:
    """One run, killed in both phases and between them."""
    run = Run(starter, "training")
    for moment in IN_TRAINING:
        run.process(*moment, code=KILLED)
    run.process()
    check_same_run(run.folder, whole)
