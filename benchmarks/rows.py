"""From samples to the rows of a report."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.rounds import Sample, middle, ratios, spread

Samples = Mapping[str, Sequence[Sample]]
"""Framework's key to its samples, one a round."""


def make_rows(
    phase: str, source: str, samples: Samples, frameworks: Sequence[Framework], ceilings: Samples
) -> list[dict[str, Any]]:
    """One row a framework.

    Args:
        phase: head, finetune, predict or validate.
        source: resident or files.
        samples: of the frameworks, all of the same rounds.
        frameworks: those that count.
        ceilings: of the bare network in the same phase, keyed by the ceiling's key; empty where there is none.
    """
    there = [framework for framework in frameworks if framework.key in samples]
    return [_row(framework, phase, source, samples, there, ceilings) for framework in there]


def _row(
    framework: Framework,
    phase: str,
    source: str,
    samples: Samples,
    there: Sequence[Framework],
    ceilings: Samples,
) -> dict[str, Any]:
    own = samples[framework.key]
    speeds = [sample.speed for sample in own]
    keras = fastest(samples, _rivals(framework, there))
    ceiling = fastest(ceilings, [key for key in ceilings if key.endswith(framework.precision)])
    against_keras = ratios(own, samples[keras]) if keras else []
    against_ceiling = ratios(own, ceilings[ceiling]) if ceiling else []
    return {
        "framework": framework.name,
        "family": framework.family,
        "precision": framework.precision,
        "phase": phase,
        "source": source,
        "images_per_second": middle(speeds),
        "spread": spread(speeds),
        "ratio_to_fastest_keras": middle(against_keras) if against_keras else None,
        "fastest_keras": keras,
        "ratio_spread": spread(against_keras) if against_keras else None,
        "fraction_of_ceiling": middle(against_ceiling) if against_ceiling else None,
        "peak_memory_mb": round(max(sample.memory for sample in own)),
        **gpu_memory(own),
        "rounds": [float(f"{speed:.4g}") for speed in speeds],
    }


def gpu_memory(samples: Sequence[Sample]) -> dict[str, int]:
    """An entry for a row where a GPU computes; nothing where none does."""
    peaks = [sample.gpu_memory for sample in samples if sample.gpu_memory is not None]
    return {"peak_gpu_memory_mb": round(max(peaks))} if peaks else {}


def _rivals(framework: Framework, there: Sequence[Framework]) -> list[str]:
    """Keys of the Keras rows that count against a row: float32 against float32, mixed against whatever is faster."""
    return [f.key for f in there if f.family == "keras" and (f.precision in ("float32", framework.precision))]


def fastest(samples: Samples, keys: Sequence[str]) -> str | None:
    """The key with the highest median speed."""
    return max(keys, key=lambda key: middle(sample.speed for sample in samples[key]), default=None)
