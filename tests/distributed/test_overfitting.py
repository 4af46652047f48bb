"""``trainer.overfit_batches`` on two processes: the run that one process has with batches twice as large."""

import json
import sys
from pathlib import Path

import pytest
from commands import check_same_run, finish, read_rows, start, write_workplace

BATCHES = ("1", "2", "0.5", "1.0")
"""Of 3 batches for training and 2 for validation, of which the last leaves the second rank with padding alone."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs ``one 1``, ``two 1``, ``one 2`` and so on."""
    folder = tmp_path_factory.mktemp("overfitting")
    write_workplace(folder)
    for name, devices, batch_size in (("one", "1", "8"), ("two", "2", "4")):
        options = ["--trainer.devices", devices, "--data.batch_size", batch_size]
        fit = ["fit", "--config", "config.yaml", *options]
        commands = [
            [*fit, "--trainer.default_root_dir", f"{name} {n}", "--trainer.overfit_batches", n] for n in BATCHES
        ]
        (folder / "commands.json").write_text(json.dumps(commands))
        worker = Path(__file__).with_name("command_worker.py")
        finish(start((sys.executable, worker, "commands.json"), folder), timeout=240)  # a rank that waits, waits longer
    return folder


@pytest.mark.parametrize("batches", BATCHES)
def test_two_processes_overfit_what_one_overfits(workplace: Path, batches: str) -> None:
    check_same_run(workplace / f"two {batches}", workplace / f"one {batches}")


def test_the_runs_differ_by_what_they_see(workplace: Path) -> None:
    curves = [read_rows(workplace / f"two {batches}" / "metrics.csv") for batches in BATCHES]
    assert curves[0] == curves[2], "half of 3 or 2 batches is one"
    assert curves[0] != curves[1] != curves[3]
