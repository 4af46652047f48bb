"""NVIDIA's GPUs of this machine, as its driver describes them: no framework is imported to ask."""

import itertools
import os
import subprocess
from typing import Any

FIELDS = ("name", "memory.total", "driver_version", "compute_cap", "uuid")
BFLOAT16_SINCE = 8.0
"""Compute capability of the first generation that computes in bfloat16 (Ampere)."""


class NoGpuError(ValueError):
    """A GPU is asked for and none is there."""


def describe_gpus() -> dict[str, Any]:
    """The first GPU that processes here would take, and how many there are.

    Returns:
        ``name``, ``memory_mb`` (None where it has none of its own), ``driver``, ``compute_capability`` and ``count``.

    Raises:
        NoGpuError: there is none, or none that CUDA_VISIBLE_DEVICES lets be seen.
    """
    query = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoGpuError(f"--accelerator gpu: no NVIDIA GPU was found here ({error}). Use --accelerator cpu.") from None
    return describe(listed, os.environ.get("CUDA_VISIBLE_DEVICES"))


def describe(listed: list[str], visible: str | None) -> dict[str, Any]:
    """From lines of ``FIELDS`` and CUDA_VISIBLE_DEVICES; see ``describe_gpus``. Raises NoGpuError."""
    boards = [dict(zip(FIELDS, (part.strip() for part in line.split(",")), strict=True)) for line in listed]
    chosen = list(boards)
    if visible is not None:  # CUDA takes those before the first that it does not know
        found = [_named(boards, name.strip()) for name in visible.split(",")]
        chosen = list(itertools.takewhile(bool, found))
    if not chosen:
        raise NoGpuError(
            f"--accelerator gpu: none of {len(listed)} GPUs can be seen. Received: CUDA_VISIBLE_DEVICES={visible!r}; "
            "unset it, or give numbers or UUIDs of nvidia-smi."
        )
    first, memory = chosen[0], chosen[0]["memory.total"]
    return {
        "name": first["name"],
        "memory_mb": int(float(memory)) if memory[:1].isdigit() else None,  # shared with the processor
        "driver": first["driver_version"],
        "compute_capability": float(first["compute_cap"]),
        "count": len(chosen),
    }


def _named(boards: list[dict[str, str]], name: str) -> dict[str, str]:
    """The board of a number, or of the beginning of a UUID; empty where there is none."""
    if name.isdigit():
        return boards[int(name)] if int(name) < len(boards) else {}
    alike = [board for board in boards if name and board["uuid"].startswith(name)]
    return alike[0] if alike else {}
