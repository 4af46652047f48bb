"""The help of a command, kept once it has been made: that takes importing torch and Lightning, which takes seconds."""

import contextlib
import hashlib
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lightning_tl.caches import default_folder
from lightning_tl.files import write_text

PACKAGES = ("lightning-tl", "lightning", "jsonargparse", "docstring-parser", "torch", "torchvision")
"""Those whose arguments, types or layout a help shows."""


def print_help(command: str, make: Callable[[Sequence[str]], int]) -> int:
    """Print what ``lightning-tl COMMAND --help`` says; returns the exit status.

    The text is kept in ``help/COMMAND.txt`` of the cache folder, for as long as these packages, Python, the files of
    lightning_tl and the terminal's width stay what they were. Where nothing can be kept it is made every time.

    Args:
        command: of lightning-tl.
        make: prints the help when called with ``[command, "--help"]``; returns the exit status, or ends with it.
    """
    folder, key = default_folder(), _key()
    file = None if folder is None else folder / "help" / f"{command}.txt"
    if file is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            first, _, text = file.read_text(encoding="utf-8").partition("\n")
            if first == key:
                print(text, end="")
                return 0
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = _status(make, [command, "--help"])
    print(output.getvalue(), end="")
    if status == 0 and file is not None:
        with contextlib.suppress(OSError):
            write_text(file, f"{key}\n{output.getvalue()}")
    return status


def _status(make: Callable[[Sequence[str]], int], args: Sequence[str]) -> int:
    """What ``make`` returns, or ends with as argparse does."""
    try:
        return make(args)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)


def _key() -> str:
    """A hash of all that the text depends on."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    stamps = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sources]
    versions = [_version(package) for package in PACKAGES]
    width = shutil.get_terminal_size().columns  # argparse fills lines to it
    return hashlib.sha256(repr((sys.version, sys.prefix, versions, width, stamps)).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
