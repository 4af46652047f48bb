"""The progress bar in a terminal and in a log file, and the table at the end."""

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest
import rich
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from training import draw_images, make_data, make_model, make_trainer

from lightning_tl.cli import _has_bar
from lightning_tl.progress import RunProgressBar, phase_table


def fit(folder: Path, bar: RunProgressBar, *callbacks: Callback, **options: Any) -> None:
    data = make_data(draw_images(folder / "images"))
    options = {"callbacks": [bar, *callbacks], "enable_progress_bar": True, **options}
    try:
        make_trainer(folder, **options).fit(make_model(data), data)
    finally:
        rich.reconfigure()  # Lightning's bar makes its console that of the process


def test_a_terminal_shows_phase_epoch_and_images_per_second(tmp_path: Path) -> None:
    terminal = io.StringIO()
    options = {"file": terminal, "force_terminal": True, "width": 160, "force_interactive": True}
    fit(tmp_path, RunProgressBar(console_kwargs=options, refresh_rate=100))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    for place in ("head 1/2", "head 2/2", "finetune 1/2", "finetune 2/2"):
        assert place in shown
    speeds = [int(found) for found in re.findall(r"(\d+) images/s", shown)]
    assert max(speeds) > 0
    assert "it/s" not in shown


def test_a_log_file_gets_a_line_an_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, RunProgressBar())
    lines = capsys.readouterr().out.strip().splitlines()
    number = r"\d+\.\d{4}"
    form = rf"train_loss {number}, train_accuracy {number}, val_loss {number}, val_accuracy {number}, \d+ images/s"
    places = [line.partition(":")[0] for line in lines if re.fullmatch(rf"\w+ \d/2: {form}", line)]
    assert places == ["head 1/2", "head 2/2", "finetune 1/2", "finetune 2/2"], lines


class SlowValidation(Callback):
    """A minute of the bar's clock for each batch."""

    def __init__(self, clock: pytest.MonkeyPatch) -> None:
        self.minutes = 0
        real = time.perf_counter
        clock.setattr("lightning_tl.progress.time.perf_counter", lambda: real() + 60 * self.minutes)

    def on_validation_batch_end(self, *_: Any) -> None:
        self.minutes += 1


@pytest.mark.parametrize("interval", [1, 3])
def test_the_speed_is_that_of_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: int) -> None:
    bar, slow = RunProgressBar(), SlowValidation(monkeypatch)
    fit(tmp_path, bar, slow, val_check_interval=interval)
    assert slow.minutes >= 4 // interval
    assert bar._images == 24
    assert bar._seconds < 60


def test_the_table_has_a_row_a_phase_and_takes_names_as_text() -> None:
    output = io.StringIO()
    whole = {"name": "[red]a\x1b[2J", "epochs": 3, "val_accuracy": 0.5, "val_loss": 1.25, "images_per_second": 171.6}
    phase_table([whole, {"name": "b", "epochs": 0, "images_per_second": 0.0}], output)
    rows = [line.split() for line in output.getvalue().splitlines() if line.strip()]
    assert ["[red]a\\x1b[2J", "3", "0.5000", "1.2500", "172"] in rows
    assert ["b", "0", "0"] in rows


def test_a_bar_of_the_configs_own_stays_the_only_one() -> None:
    assert _has_bar([TQDMProgressBar()])
    assert not _has_bar(None)
