"""Where a run took place: figures of different machines are not compared."""

import contextlib
import os
import platform
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
BLOCKS = ("validation", "startup", "loading", "time_to_accuracy", "growth", "scaling", "means")
"""Of measures beside the rows, which a run may leave to an earlier one."""


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


def merge(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks of ``new``, and those of ``old`` that were not measured anew; of rows, framework by framework.

    Raises:
        DifferentMachinesError: they are of different machines, versions or settings.
    """
    require_same_machine(new, old)
    for block in ("versions", "settings", "weights"):
        require_same_block(block, new, old, bool(new.get("time_to_accuracy")))
    again = [block for block in TABLES if new.get(block) and old.get(block)]
    tables = {"rows": old["rows"], **{block: _joined(new[block], old[block]) for block in again}}
    refused = {item["framework"] for item in new["refused"]}
    asked = refused | {f"{row['framework']} {row['precision']}" for row in (*new["rows"], *new.get("agreement", ()))}
    tables["refused"] = [*new["refused"], *(item for item in old["refused"] if item["framework"] not in asked)]
    tables["rows"] = [row for row in tables["rows"] if f"{row['framework']} {row['precision']}" not in refused]
    kept = any("earlier" in row for row in tables["rows"])
    earlier = {"earlier_load": old.get("earlier_load", old["load"])} if kept else {}
    measured = {key: value for key, value in new.items() if value not in ({}, [])}
    if not new["rows"]:  # the load is that of the rows
        measured.pop("load", None)
    lent = [block for block in BLOCKS if new["rows"] and old.get(block) and block not in measured]
    lent = sorted({*lent, *(block for block in old.get("lent", ()) if block not in measured)})
    return {**earlier, **old, **measured, **tables, "lent": lent}


def require_same_block(block: str, new: Mapping[str, Any], old: Mapping[str, Any], accuracy: bool) -> None:
    """Raise DifferentMachinesError where ``block`` of two reports differs, naming what does.

    ``accuracy``: whether the time to an accuracy is measured anew, on which some settings have an effect alone.
    """
    free = FOR_ACCURACY if accuracy else ()
    differs = [
        f"{name} {new[block].get(name)} against {old[block].get(name)}"
        for name in {**new[block], **old[block]}
        if name not in free and new[block].get(name) != old[block].get(name)
    ]
    if differs:
        raise DifferentMachinesError(f"reports with different {block} are not joined: {', '.join(differs)}.")


FOR_ACCURACY = ("accuracy", "epochs")
"""Settings that the time to an accuracy alone depends on; they may change where that is measured anew."""

TABLES = ("rows", "validation", "ceiling", "agreement")
"""Blocks that are joined row by row."""


def _joined(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of ``new``, after those rows of ``old`` that ``new`` has no counterpart of, marked as ``earlier``."""

    def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in ("framework", "precision", "phase", "source", "kind"))

    measured = {place(row) for row in new}
    return [*({**row, "earlier": True} for row in old if place(row) not in measured), *new]


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
