"""metrics.csv goes on where a killed run has left it."""

import warnings
from pathlib import Path

import pytest

from lightning_tl.logger import MetricsLogger, event_logger

WHOLE = "epoch,loss,step\r\n0,0.5,2\r\n1,0.25,5\r\n"


def log(folder: Path, first_step: int, *rows: tuple[int, dict[str, float]], stopped_in: int | None = None) -> str:
    """Log rows of (step, values) as one process does; what metrics.csv then holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Lightning's writer warns before it deletes
        logger = MetricsLogger(folder, first_step, stopped_in)
        for step, values in rows:
            logger.log_metrics(values, step)
        logger.save()
    return (folder / "metrics.csv").read_bytes().decode()


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    rows = [(2, {"epoch": 0, "loss": 0.5}), (5, {"epoch": 1, "loss": 0.25})]
    assert log(tmp_path / "one", 0, *rows) == WHOLE
    log(tmp_path / "two", 0, rows[0])
    assert log(tmp_path / "two", 3, rows[1]) == WHOLE


@pytest.mark.parametrize("size", range(len(WHOLE) + 1))
def test_a_file_cut_anywhere_is_continued(tmp_path: Path, size: int) -> None:
    """The second row is of a step that the checkpoint has not seen: it is written again, once."""
    (tmp_path / "metrics.csv").write_bytes(WHOLE[:size].encode())
    first = size >= WHOLE.index("1,") - 1  # the first row is whole, or lacks its line feed alone
    rows = (
        [(5, {"epoch": 1, "loss": 0.25})]
        if first
        else [(2, {"epoch": 0, "loss": 0.5}), (5, {"epoch": 1, "loss": 0.25})]
    )
    assert log(tmp_path, 3 if first else 0, *rows) == WHOLE


def test_steps_that_are_trained_again_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(WHOLE.encode())
    assert log(tmp_path, 5, (5, {"epoch": 1, "loss": 0.125})) == WHOLE.replace("0.25", "0.125")


def test_what_was_said_of_an_epoch_that_goes_on_is_forgotten(tmp_path: Path) -> None:
    """Lightning validates and logs where a trainer is told to stop; other rows of that step stay."""
    header = "epoch,lr,step,train_loss,val_loss\r\n"
    kept = "0,,2,0.5,\r\n0,,2,,0.4\r\n1,0.1,4,,\r\n"
    (tmp_path / "metrics.csv").write_bytes((header + kept + "1,,4,,0.3\r\n1,,4,0.2,\r\n").encode())
    text = log(tmp_path, 5, (5, {"epoch": 1, "val_loss": 0.25}), stopped_in=1)
    assert text == header + kept + "1,,5,,0.25\r\n"


def test_a_resume_that_is_refused_forgets_nothing(tmp_path: Path) -> None:
    """Lightning asks for the writer before anything has looked at the run."""
    (tmp_path / "metrics.csv").write_bytes(WHOLE.encode())
    logger = MetricsLogger(tmp_path, 3)
    logger.log_hyperparams({"seed": 1})
    logger.save()
    logger.finalize("failed")
    assert (tmp_path / "metrics.csv").read_bytes().decode() == WHOLE


def test_a_value_that_is_new_after_the_resume_gets_a_column(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(WHOLE.encode())
    text = log(tmp_path, 6, (8, {"epoch": 2, "accuracy": 1.0}))
    assert text == "accuracy,epoch,loss,step\r\n,0,0.5,2\r\n,1,0.25,5\r\n1.0,2,,8\r\n"


def test_events_lie_in_the_folder_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "other")
    logger = event_logger(tmp_path / "$NAME")
    logger.log_metrics({"loss": 1.0}, 1)
    logger.finalize("success")
    assert [path.name for path in tmp_path.iterdir()] == ["$NAME"]
