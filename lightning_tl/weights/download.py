"""Fetch one file within bounded time, offline included; keep it only when its hash is the official one."""

import hashlib
import http.client
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lightning_tl.caches import FOLDER_VARIABLE, default_folder
from lightning_tl.errors import InputError
from lightning_tl.files import replacing

ANSWER_SECONDS = 4.0
"""For a server to begin its answer, name lookup and connection included; later for each read."""
DOWNLOAD_SECONDS = 600.0
"""For a whole file, once the server has begun to answer."""
CHUNK = 1 << 20
"""Bytes read at a time."""

T = TypeVar("T")


class UnavailableError(Exception):
    """One source has no acceptable file; the message says why."""


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits. Raises OSError when it cannot be read."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_dir() -> Path:
    """Where we keep what we fetch: ``weights`` in ``caches.default_folder()``.

    Raises:
        InputError: there is none.
    """
    folder = default_folder()
    if folder is None:
        raise InputError(
            "weights: this user has no home folder, in which weights are looked for and kept. Set "
            f"{FOLDER_VARIABLE} to a folder, or give the path of a file."
        )
    return folder / "weights"


def verify(path: Path, official: str) -> None:
    """Raise UnavailableError unless the file's SHA-256 is ``official``, or begins with it."""
    found = sha256(path)
    if not found.startswith(official):
        raise UnavailableError(f"its SHA-256 is {found}, the official one {official}; not used")


def cached(path: Path, official: str) -> Path:
    """``path`` when it exists and has the official hash; UnavailableError otherwise."""
    try:
        if not path.is_file():
            raise UnavailableError("no such file")
        verify(path, official)
    except OSError as error:
        raise UnavailableError(f"cannot be read ({error})") from error
    return path


def fetch(url: str, target: Path, official: str) -> Path:
    """Download to ``target``, which appears whole and with the official hash or not at all.

    Raises:
        UnavailableError: no answer, too slow, wrong hash, or the folder cannot be written.
    """
    try:
        response = within(ANSWER_SECONDS, lambda: urllib.request.urlopen(url, timeout=ANSWER_SECONDS))
        assert isinstance(response, http.client.HTTPResponse)
        with response, replacing(target) as temporary:
            _copy(response, temporary)
            verify(temporary, official)
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise UnavailableError(f"the server says {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise UnavailableError(f"no connection ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{type(error).__name__}: {error}") from error
    return target


def within(seconds: float, call: Callable[[], T]) -> T:
    """``call()``'s result or exception, or UnavailableError after ``seconds``.

    Socket time-outs do not bound name lookup, which alone can take half a minute where packets are dropped.
    The call goes on in a daemon thread that ends with it or with the process.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise UnavailableError(f"no answer within {seconds:g} s")
    return results[0]


def hash_prefix(name: str) -> str:
    """The start of the SHA-256 that torch and timm put in file names, as ``net-b0353104.pth``; else empty."""
    match = re.search(r"-([0-9a-f]{8,64})\.", name)
    return match[1] if match else ""


def _copy(source: http.client.HTTPResponse, target: Path) -> None:
    """Read what has arrived, chunk by chunk, so that a trickle meets the deadline too."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    with target.open("wb") as stream:
        while chunk := source.read1(CHUNK):
            stream.write(chunk)
            if time.monotonic() > deadline:
                raise UnavailableError(f"not complete after {DOWNLOAD_SECONDS:g} s")
