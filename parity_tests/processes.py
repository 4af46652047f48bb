"""Keras in processes of their own, one for each backend and precision, and what they have answered before."""

import atexit
import hashlib
import json
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BACKENDS = ("torch", "jax", "tensorflow")
DTYPES = ("float32", "float64", "float64-stock")
Arrays = dict[str, np.ndarray]


class KerasProcess:
    """One backend at one precision; the process starts with the first call whose answer is not known.

    Args:
        backend: torch, jax or tensorflow.
        dtype: float32, float64, or float64-stock: float64 with nothing of Keras switched.
    """

    def __init__(self, backend: str, dtype: str) -> None:
        self.backend, self.dtype = backend, dtype
        self._process: subprocess.Popen[str] | None = None

    @property
    def float64(self) -> bool:
        """Whether variables are float64."""
        return self.dtype != "float32"

    def call(self, job: str, options: dict[str, Any] | None = None, **arrays: np.ndarray) -> Arrays:
        """What ``parity_tests.jobs.<job>`` makes of ``arrays``: computed once a session, then read.

        Raises:
            RuntimeError: the job has failed; the message holds its traceback.
        """
        options = options or {}
        folder = session_folder() / self._key(job, options, arrays)
        results = folder / "results.npz"
        if not results.exists():
            folder.mkdir(exist_ok=True)
            self._compute(job, options, arrays, folder, results)
        with np.load(results) as file:
            return dict(file)

    def close(self) -> int:
        """End the process, if there is one; its exit code."""
        if self._process is None:
            return 0
        self._process.communicate()  # closes both pipes and waits
        code, self._process = self._process.returncode, None
        return code

    def _key(self, job: str, options: dict[str, Any], arrays: Arrays) -> str:
        digest = hashlib.sha256(json.dumps([self.backend, self.dtype, job, options], sort_keys=True).encode())
        for name, array in sorted(arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _compute(self, job: str, options: dict[str, Any], arrays: Arrays, folder: Path, to: Path) -> None:
        np.savez(folder / "arrays.npz", **arrays)
        partial = folder / "partial.npz"
        request = {"job": job, "options": options, "arrays": str(folder / "arrays.npz"), "results": str(partial)}
        error = self._ask(request)
        if error is not None:
            raise RuntimeError(f"{job} on {self.backend}, {self.dtype}:\n{error}")
        partial.replace(to)

    def _ask(self, request: dict[str, Any]) -> str | None:
        """The error of a request, None if it has none."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(json.dumps(request), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return f"the process ended with code {self.close()}:\n{self._log().read_text()[-4000:]}"
        error: str | None = json.loads(line)["error"]
        return error

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            command = [sys.executable, "-m", "parity_tests.worker", self.backend, self.dtype]
            with self._log().open("w") as log:
                self._process = subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
                )
        return self._process

    def _log(self) -> Path:
        return session_folder() / f"{self.backend}-{self.dtype}.log"


@cache
def keras_process(backend: str, dtype: str) -> KerasProcess:
    """The session's one process for this backend and precision; ended with the session."""
    process = KerasProcess(backend, dtype)
    atexit.register(process.close)
    return process


@cache
def session_folder() -> Path:
    """Where requests, answers and logs of this session lie; removed with it."""
    folder = tempfile.TemporaryDirectory(prefix="parity_tests_")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def installed_backends() -> tuple[str, ...]:
    """Those of ``BACKENDS`` that can be imported here."""
    return tuple(backend for backend in BACKENDS if find_spec(backend) is not None)
