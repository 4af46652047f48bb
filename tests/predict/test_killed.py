"""A prediction that is killed (SIGKILL) at any of its calls to the system leads to the same bytes."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from predicting import draw, predict_here

from lightning_tl.predict import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")

EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.listdir", "os.scandir")


def killed(run_it: Callable[[], Any], moment: int) -> int:
    """Run it in a process that is killed before the ``moment``-th of these calls; how it ended."""
    process = multiprocessing.get_context("fork").Process(target=run_until, args=(run_it, moment))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def run_until(run_it: Callable[[], Any], moment: int) -> None:
    left = moment

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in EVENTS and isinstance(arguments[0], str | os.PathLike) and "cut.csv" in str(arguments[0]):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    run_it()
    os._exit(0)


def test_killed_at_any_moment(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every seventh of the calls that touch the result, each time from the beginning."""
    monkeypatch.setattr(run, "CHUNK", 4)
    draw(workplace / "broken", 3)
    (workplace / "broken" / "01.png").write_bytes(b"no image")
    run_it = partial(predict_here, "broken", "photos", "broken", output="cut.csv", cwd=workplace)
    run_it()
    names = ("cut.csv", "cut.errors.csv")
    whole = [(workplace / name).read_bytes() for name in names]
    moments = 0
    for moment in range(1, 200, 7):
        for name in names:
            (workplace / name).unlink(missing_ok=True)
        ended = killed(run_it, moment)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        moments += 1
        if not (workplace / "cut.csv").exists() or (workplace / "cut.csv.partial" / "manifest.json").exists():
            run_it()
        assert whole == [(workplace / name).read_bytes() for name in names], moment
        assert not list(workplace.glob(".cut*"))
    assert moments > 5
