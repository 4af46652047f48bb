"""Where a run took place: figures of different machines are not compared."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.gpu import BFLOAT16_SINCE, describe_gpus

PACKAGES = (
    "lightning-tl",
    "torch",
    "torchvision",
    "lightning",
    "keras",
    "jax",
    "tensorflow",
    "tensorflow-cpu",
    "fastai",
    "numpy",
)
SAME = ("cpu", "vector_units", "cores", "threads", "memory_gb", "os", "python", "gpu")
"""What must be equal for two runs to be of one machine."""
UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


class DifferentMachinesError(ValueError):
    """Two reports that may not be compared."""


def describe_machine(threads: int, accelerator: str = "cpu") -> dict[str, Any]:
    """Processor, cores, threads given to each framework, memory in GB, system and Python; ``gpu`` where one computes.

    Raises:
        NoGpuError: ``accelerator`` is gpu, and there is none.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "vector_units": [unit for unit in UNITS if unit in (_cpuinfo("flags") or _cpuinfo("Features")).split()],
        "cores": cores,
        "threads": threads,
        "memory_gb": _memory_gb(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **({"gpu": describe_gpus()} if accelerator == "gpu" else {}),
    }


def computes_on(machine: Mapping[str, Any]) -> str:
    """What computes, in words."""
    return machine["gpu"]["name"] if "gpu" in machine else f"{machine['cpu']}, {machine['threads']} threads"


def has_bfloat16(machine: Mapping[str, Any]) -> bool:
    """Whether what computes in ``describe_machine`` does bfloat16; where not, mixed precision is emulated."""
    if "gpu" in machine:
        return bool(machine["gpu"]["compute_capability"] >= BFLOAT16_SINCE)
    return any("bf16" in unit for unit in machine["vector_units"])


def versions() -> dict[str, str]:
    """Of the installed packages that the figures depend on."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def commit() -> str:
    """Of this working tree, with ``-dirty`` where files differ from it; ``unknown`` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        asked = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return asked.stdout.strip()


def require_same_machine(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise DifferentMachinesError, naming every difference, unless both reports are of one machine."""
    differences = [
        f"{name} {ours['machine'].get(name)!r} against {theirs['machine'].get(name)!r}"
        for name in SAME
        if ours["machine"].get(name) != theirs["machine"].get(name)
    ]
    if differences:
        raise DifferentMachinesError(
            f"runs on different machines are not compared: {'; '.join(differences)}. Measure again on one machine."
        )


def _cpuinfo(name: str) -> str:
    """A line of the first core's description (Linux); empty elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""


def _memory_gb() -> float:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return 0.0
