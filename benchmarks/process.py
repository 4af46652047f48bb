"""A framework's process, seen from outside."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.job import Job
from benchmarks.load import family_seconds

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1800.0
"""Seconds that one answer may take; compilation on a slow machine is the longest."""


class WorkerError(RuntimeError):
    """A framework could not do what was asked; the message holds its traceback."""


class NotAnsweredError(WorkerError):
    """A framework does not have what was asked for, which is no failure."""


class Worker:
    """One process.

    Args:
        job: its work; the process starts at once, ``ready`` waits until it has built its model.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.startup = 0.0
        self._began = time.perf_counter()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.send(job.to_dict())

    @property
    def key(self) -> str:
        """Of its framework."""
        return self.job.framework.key

    def ready(self) -> None:
        """Wait until the model is built; seconds since the process began are ``startup``."""
        self.receive()
        self.startup = time.perf_counter() - self._began

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request. Raises WorkerError."""
        self.send(request)
        return self.receive()

    def send(self, request: dict[str, Any]) -> None:
        """Send a request without waiting; a process that has ended shows when the answer is read."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self._process.stdin, flush=True)

    def receive(self) -> dict[str, Any]:
        """The next answer. Raises WorkerError."""
        assert self._process.stdout is not None
        timer = threading.Timer(LIMIT, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise WorkerError(f"{self.key} ended with code {self._process.wait()}:\n{self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "not_offered" in answer:
            raise NotAnsweredError(f"{self.key}: {answer['not_offered']}")
        if "error" in answer:
            raise WorkerError(f"{self.key}: {answer['error']}")
        return answer

    def cpu_seconds(self) -> float:
        """Processor seconds of the process and its children so far."""
        return family_seconds(self._process.pid)

    def dismiss(self) -> None:
        """Let the process end, without waiting for it."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def close(self) -> None:
        """End the process."""
        self.dismiss()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._log.close()

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read()[-4000:]


class Team:
    """Processes that train together; what the first says counts.

    Args:
        workers: in the order of their ranks.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = tuple(workers)
        self.key = workers[0].key

    def ready(self) -> None:
        """Wait for all. Raises WorkerError."""
        for worker in self.workers:
            worker.ready()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask all at once, wait for all. Raises WorkerError."""
        for worker in self.workers:
            worker.send(request)
        answers = [worker.receive() for worker in self.workers]
        return answers[0]

    def cpu_seconds(self) -> float:
        """Of all together."""
        return sum(worker.cpu_seconds() for worker in self.workers)

    def close(self) -> None:
        """End all, which may wait for one another."""
        for worker in self.workers:
            worker.dismiss()
        for worker in self.workers:
            worker.close()
