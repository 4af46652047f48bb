"""Numbers of the progress, on a terminal and elsewhere."""

import io
import pickle
import re
import time

import pytest
from rich.console import Console

from lightning_tl.predict import progress
from lightning_tl.predict.progress import Counter, ProgressReport


def test_speed_is_of_this_run_and_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    counter = Counter(done=1000, unreadable=3)
    for second in range(40):
        now[0] += 1
        counter.add(50 if second < 20 else 10, 0)
    assert (counter.done, counter.unreadable) == (2200, 3)
    assert counter.speed == pytest.approx(10)
    assert counter.text(None) == "2,200 images, 10 images/s, 3 unreadable"
    assert counter.text(5000) == "2,200 of 5,000 images, 10 images/s, 3 unreadable"


def wait_for_total(report: ProgressReport) -> None:
    deadline = time.monotonic() + 10
    while report.total is None and time.monotonic() < deadline:
        time.sleep(0.01)


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    report = pickle.loads(pickle.dumps(ProgressReport(True, b"12345".__len__)))
    report.start(1, 0)
    report.add(1, 1)
    wait_for_total(report)
    report.add(3, 0)
    report.stop()
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"predict: 2( of 5)? images, [\d,]+ images/s, 1 unreadable", first)
    assert re.fullmatch(r"predict: 5 of 5 images, [\d,]+ images/s, 1 unreadable", second)


def test_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    report = ProgressReport(True, None)
    report.start(0, 0)
    for _ in range(100):
        report.add(1, 0)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "Console", lambda stderr: console)
    report = ProgressReport(True, b"12345678".__len__)
    report.start(0, 0)
    report.add(1, 0)
    wait_for_total(report)
    report.add(3, 2)
    report.stop()
    assert re.search(r"4 of 8 images, [\d,]+ images/s, 2 unreadable", screen.getvalue())


def test_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    report = ProgressReport(False, None)
    report.start(0, 0)
    report.add(5, 1)
    report.stop()
    assert capsys.readouterr() == ("", "")
    assert report.counter.done == 5
