"""Two processes of one run, killed and told to end as SLURM does."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import COMMAND, finish, slurm_tasks, start
from forked import Run, Starter, at, check_same_run

TERM = int(signal.SIGTERM)
ALL = {"number": TERM, "group": True}
OVERLAY = Path(__file__).parents[2] / "configs" / "overlay" / "slurm.yaml"
OPTIONS = ("--data.batch_size", "4", "--trainer.accelerator", "cpu", "--checkpoint_every_n_steps", "1")
SLURM = ("--config", str(OVERLAY), *OPTIONS, "--trainer.devices", "1")


def tasks(run: Run, code: int, *options: Sequence[str]) -> str:
    """As ``srun`` starts two tasks on two nodes, each with its own ``options``; what they printed."""
    command = run.command()
    processes = [
        run.starter.start(*command, *own, environment=rank)
        for rank, own in zip(slurm_tasks(), options or ((), ()), strict=True)
    ]
    ended = [process.ended() for process in processes]
    output = "".join(process.output for process in processes)
    assert ended == [code, code], output[-4000:]
    return output


@pytest.fixture(scope="module")
def whole_of_two(starter: Starter) -> Path:
    """The folder of an uninterrupted run in two processes."""
    run = Run(starter, "two", SLURM)
    tasks(run, 0)
    return run.folder


def test_two_processes_killed(starter: Starter, whole_of_two: Path) -> None:
    run = Run(starter, "two killed", SLURM)
    kill = at("on_train_batch_start", 3, 4)
    tasks(run, -signal.SIGKILL, kill, kill)
    tasks(run, 0)
    check_same_run(run.folder, whole_of_two)


@pytest.mark.slow
def test_processes_told_to_end(starter: Starter, whole_of_two: Path) -> None:
    """What one is told all know; and SLURM tells every process of a job, those too that read images."""
    run = Run(starter, "two told", (*SLURM, "--data.num_workers", "1", "--data.cache", "none"))
    one = ((), at("on_train_batch_start", 1, 2, number=TERM))
    mid_epoch, validating = at("on_train_batch_end", 2, 0, **ALL), at("on_validation_batch_end", 3, 0, **ALL)
    for moments in (one, (mid_epoch, mid_epoch), (validating, validating)):
        output = tasks(run, 128 + TERM, *moments)
        assert output.count("lightning-tl: ended by SIGTERM; ") == 2
    predicting = at("on_predict_batch_start", 5, 0, number=TERM)  # of the held-out images, after the last epoch
    output = tasks(run, 128 + TERM, (), predicting)
    assert output.count("lightning-tl: ended by SIGTERM before its predictions were written") == 2
    assert not (run.folder / "results.json").exists()
    tasks(run, 0)
    check_same_run(run.folder, whole_of_two)


@pytest.mark.slow
def test_lightnings_own_processes_all_told_to_end(starter: Starter, whole_of_two: Path) -> None:
    """Who started the others looks every 5 seconds whether one has failed, and must not be killed if it ends last."""
    run = Run(starter, "launched", (*OPTIONS, "--trainer.strategy", "ddp", "--trainer.devices", "2"))
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    for moment in (
        at("on_train_batch_start", 1, 2, number=TERM, linger=11),
        at("on_validation_batch_end", 2, 0, number=TERM),
    ):
        (output,) = finish(start((*COMMAND, *run.command(*moment)), starter.folder, path), code=128 + TERM)
        assert "lightning-tl: ended by SIGTERM; " in output
    finish(start((*COMMAND, *run.command()), starter.folder))
    check_same_run(run.folder, whole_of_two)
