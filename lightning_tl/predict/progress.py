"""How far a prediction has come: a bar on a terminal, else a line now and then; both on standard error."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS = 10.0
"""Between two lines where standard error is no terminal."""
MEASURED = 5.0
"""Seconds over which the speed is measured, at least."""


class Counter:
    """Images so far, and how many of them a second.

    Attributes:
        done: paths dealt with, those of earlier runs included.
        unreadable: how many of them could not be read.
    """

    def __init__(self, done: int = 0, unreadable: int = 0) -> None:
        self.done, self.unreadable = done, unreadable
        self.began, self._marks = time.monotonic(), [(time.monotonic(), done)]

    def add(self, images: int, unreadable: int) -> None:
        """A step's images."""
        self.done += images
        self.unreadable += unreadable
        now = time.monotonic()
        if now - self._marks[-1][0] >= MEASURED:
            self._marks = [self._marks[-1], (now, self.done)]

    @property
    def speed(self) -> float:
        """Images a second over the last ``MEASURED`` to two times as many seconds."""
        then, done = self._marks[0]
        return (self.done - done) / max(time.monotonic() - then, 1e-3)

    def text(self, total: int | None) -> str:
        """In words."""
        of = "" if total is None else f" of {total:,}"
        return f"{self.done:,}{of} images, {self.speed:,.0f} images/s, {self.unreadable:,} unreadable"


class ProgressReport:
    """Shows the progress; pickled, it is as before ``start``.

    Args:
        shown: whether at all.
        count: how many paths there will be, which may take a while; None where nobody knows.
    """

    def __init__(self, shown: bool, count: Callable[[], int] | None) -> None:
        self.shown, self._count = shown, count
        self.counter: Counter = Counter()
        self.total: int | None = None
        self._bar: Progress | None = None
        self._last = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {"shown": self.shown, "count": self._count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ProgressReport.__init__(self, **state)

    def start(self, done: int, unreadable: int) -> None:
        """Begin, after so many paths of earlier runs."""
        self.counter, self.total = Counter(done, unreadable), None
        self._last = time.monotonic()
        if not self.shown:
            return
        console = Console(stderr=True)
        if console.is_terminal:
            self._bar = make_bar(console)
            self._bar.add_task("predict", total=None, text="")
            self._bar.start()

    def add(self, images: int, unreadable: int) -> None:
        """A step's images."""
        if self._count is not None and self.shown:  # now, because workers are forked better without other threads
            threading.Thread(target=self._find_total, args=(self._count,), daemon=True).start()
            self._count = None
        self.counter.add(images, unreadable)
        if self._bar is not None:
            text = self.counter.text(self.total)
            self._bar.update(self._bar.task_ids[0], completed=self.counter.done, total=self.total, text=text)
        elif self.shown and time.monotonic() - self._last >= SECONDS:
            self._last = time.monotonic()
            print(f"predict: {self.counter.text(self.total)}", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _find_total(self, count: Callable[[], int]) -> None:
        self.total = count()


def make_bar(console: Console) -> Progress:
    """Spinner, bar, words, elapsed and remaining time."""
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, refresh_per_second=4)
