"""How speed and memory change with the batch, the image size and the number of images."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.alive import alive
from benchmarks.frameworks import Framework
from benchmarks.prepare import Ground
from benchmarks.rounds import Sample, middle
from benchmarks.rows import gpu_memory
from benchmarks.settings import PHASES, Settings

GROWTH: dict[str, tuple[float, ...]] = {
    "batch_size": (0.25, 0.5, 1, 2),
    "image_size": (0.6, 0.8, 1, 1.4),
    "images": (1, 2, 4),
}
"""Settings that are varied, one at a time, and the factors."""


def growth(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """Training speed and memory in float32 as one setting after the other changes; a piece for each value."""
    settings = ground.settings
    chosen = _chosen(frameworks, quick=bool(settings.budget))
    return [
        partial(_measured, ground, chosen, name, value)
        for name, factors in GROWTH.items()
        for value in _values(settings, name, (min(factors), max(factors)) if settings.budget else factors)
    ]


def _measured(ground: Ground, chosen: Sequence[Framework], name: str, value: int) -> list[dict[str, Any]]:
    """Rows of one value: a framework and a phase each."""
    there = ground.changed(f"{name}_{value}", **{name: value, "rounds": min(3, ground.settings.rounds)})
    with alive(there, chosen) as group:
        samples = {phase: group.train(phase, "resident", there.settings) for phase in PHASES}
    return [
        _row(framework, phase, name, value, found[framework.key])
        for phase, found in samples.items()
        for framework in chosen
        if framework.key in found
    ]


def _values(settings: Settings, name: str, factors: Sequence[float]) -> list[int]:
    """The setting times each factor, each value once: small settings round to the same."""
    return list(dict.fromkeys(_value(settings, name, factor) for factor in factors))


def _value(settings: Settings, name: str, factor: float) -> int:
    """The setting times the factor; image sizes in steps of the network's stride."""
    if name == "image_size":
        return max(32, round(settings.image_size * factor / 32) * 32)
    return max(1, round(float(getattr(settings, name)) * factor))


def _row(framework: Framework, phase: str, name: str, value: int, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "framework": framework.name,
        "precision": framework.precision,
        "phase": phase,
        "varied": name,
        "value": value,
        "images_per_second": middle(sample.speed for sample in samples),
        "peak_memory_mb": round(max(sample.memory for sample in samples)),
        **gpu_memory(samples),
    }


def _chosen(frameworks: Sequence[Framework], quick: bool) -> list[Framework]:
    """Those in float32; in a quick run one lightning-tl and one Keras."""
    single = [framework for framework in frameworks if framework.precision == "float32"]
    if not quick:
        return single
    families = {framework.family: framework for framework in reversed(single)}
    return [families[family] for family in ("lightning-tl", "keras") if family in families]
