"""What reading files costs: lightning-tl from JPEG files against itself from memory, in the same rounds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.alive import alive
from benchmarks.frameworks import Framework
from benchmarks.prepare import Ground
from benchmarks.rounds import Sample, middle, ratios, spread
from benchmarks.settings import PHASES

SOURCES = ("files", "resident")


def loading(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """A piece for each precision, of the first lightning-tl of the table in it; see ``_measured``."""
    ours = {framework.precision: framework for framework in reversed(frameworks) if framework.family == "lightning-tl"}
    return [partial(_measured, ground, framework) for framework in ours.values()]


def _measured(ground: Ground, framework: Framework) -> list[dict[str, Any]]:
    """A row a phase. The tables of files and of memory are minutes apart, in which a machine may have changed."""
    both = {source: replace(framework, name=f"{framework.name} from {source}") for source in SOURCES}
    source_of = {one.key: source for source, one in both.items()}
    with alive(ground, list(both.values())) as group:
        samples = {phase: group.train(phase, source_of, ground.settings) for phase in PHASES}
    files, resident = (both[source].key for source in SOURCES)
    return [
        _row(framework, phase, found[files], found[resident])
        for phase, found in samples.items()
        if files in found and resident in found
    ]


def _row(framework: Framework, phase: str, files: Sequence[Sample], resident: Sequence[Sample]) -> dict[str, Any]:
    fractions = ratios(files, resident)
    return {
        "framework": framework.name,
        "precision": framework.precision,
        "phase": phase,
        "files": middle(sample.speed for sample in files),
        "resident": middle(sample.speed for sample in resident),
        "fraction": middle(fractions),
        "spread": spread(fractions),
    }
