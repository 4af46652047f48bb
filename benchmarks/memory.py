"""How much memory a process and its loaders need, in MiB."""

import contextlib
import resource
import sys
from pathlib import Path


def reset_peak() -> None:
    """Forget the peak so far, where the system lets a process do so (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Largest resident memory of this process since ``reset_peak``, and what its child processes hold now.

    Children are counted by their proportional share, so that what they have in common with their parent is not
    counted twice.
    """
    peak = _field(Path("/proc/self/status"), "VmHWM")
    if peak is None:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return own / 2**20 if sys.platform == "darwin" else own / 2**10
    children = (_field(Path(f"/proc/{child}/smaps_rollup"), "Pss") or 0.0 for child in _children())
    return peak + sum(children)


def _children() -> list[str]:
    found: list[str] = []
    with contextlib.suppress(OSError):
        for path in Path("/proc/self/task").glob("*/children"):
            found += path.read_text().split()
    return found


def _field(path: Path, name: str) -> float | None:
    """A line ``name: number kB`` in MiB."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) / 2**10
    return None
