"""What reading files costs: lightning-tl from JPEG files against itself from memory, in the same rounds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.alive import alive
from benchmarks.frameworks import Framework
from benchmarks.prepare import Ground
from benchmarks.rounds import Sample, middle, ratios, spread
from benchmarks.settings import CACHE, PHASES

CACHES = {"cpu": (CACHE,), "gpu": (CACHE, "device")}
"""Places in which decoded images are kept, ``data.cache``: the default, and that of a GPU's own memory."""
MEMORY = "resident"


def loading(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """Of the first lightning-tl of the table in each precision: a piece for each, on a GPU one; see ``_measured``."""
    ours = {framework.precision: framework for framework in reversed(frameworks) if framework.family == "lightning-tl"}
    together = [list(ours.values())] if ground.settings.accelerator == "gpu" else [[one] for one in ours.values()]
    return [partial(_measured, ground, chosen) for chosen in together if chosen]


def _measured(ground: Ground, chosen: Sequence[Framework]) -> list[dict[str, Any]]:
    """A row for a phase and a cache; the tables of files and of memory are of different minutes of the machine."""
    caches = CACHES[ground.settings.accelerator]
    held = [(one, replace(one, name=f"{one.name} from {MEMORY}")) for one in chosen]
    kept = [(one, memory, cache, _keeping(one, cache)) for one, memory in held for cache in caches]
    source_of = {memory.key: MEMORY for _, memory in held} | {files.key: "files" for *_, files in kept}
    with alive(ground, [*(memory for _, memory in held), *(files for *_, files in kept)]) as group:
        samples = {phase: group.train(phase, source_of, ground.settings) for phase in PHASES}
    return [
        _row(one, phase, cache, found[files.key], found[memory.key])
        for phase, found in samples.items()
        for one, memory, cache, files in kept
        if files.key in found and memory.key in found
    ]


def _keeping(framework: Framework, cache: str) -> Framework:
    """The framework, keeping decoded images there."""
    return replace(framework, name=f"{framework.name} from {cache}", options={**framework.options, "cache": cache})


def _row(
    framework: Framework, phase: str, cache: str, files: Sequence[Sample], resident: Sequence[Sample]
) -> dict[str, Any]:
    fractions = ratios(files, resident)
    return {
        "framework": framework.name,
        "precision": framework.precision,
        "phase": phase,
        "cache": cache,
        "files": middle(sample.speed for sample in files),
        "resident": middle(sample.speed for sample in resident),
        "fraction": middle(fractions),
        "spread": spread(fractions),
        "rounds": [float(f"{fraction:.4g}") for fraction in fractions],
    }
