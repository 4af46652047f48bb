"""What each of the means by which lightning-tl is fast is worth."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.alive import alive
from benchmarks.frameworks import Framework
from benchmarks.prepare import Ground
from benchmarks.rounds import Sample, middle, ratios
from benchmarks.settings import PHASES

MEANS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("flip, rotation and zoom in one resampling", "resident", {"fused": False}),
    ("channels last", "resident", {"channels_last": False}),
    ("freed memory kept for the next step", "resident", {"keep_memory": False}),
    ("TensorFlow's padding without a padded copy", "resident", {"padded_copies": True}),
    ("ReLU6 in the convolution's own pass", "resident", {"separate_relu6": True}),
    ("BatchNorm folded into frozen convolutions", "resident", {"fold_batchnorm": False}),
    ("decoded images kept", "files", {"cache": "none"}),
)
"""What lightning-tl does to be fast, the source on which it shows, and the option that switches it off; options that
the installed version does not have are left out."""


def means(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """lightning-tl with each of its means switched off, against itself with all; a piece for each source.

    The one compared is the first lightning-tl of the table in float32: as it is by default.
    """
    chosen = [f for f in frameworks if f.family == "lightning-tl" and f.precision == "float32"][:1]
    pieces: list[Callable[[], list[dict[str, Any]]]] = []
    for base in chosen:
        for source in ("resident", "files"):
            without = {
                name: replace(base, name=f"without: {name}", options={**base.options, **off})
                for name, shown, off in MEANS
                if shown == source and _switches(base, off)
            }
            if without:
                pieces.append(partial(_measured, ground, base, without, source))
    return pieces


def _measured(ground: Ground, base: Framework, without: dict[str, Framework], source: str) -> list[dict[str, Any]]:
    """Rows of one source: a mean and a phase each."""
    with alive(ground, [base, *without.values()]) as group:
        samples = {phase: group.train(phase, source, ground.settings) for phase in PHASES}
    return [
        _row(name, framework, phase, source, found[framework.key], found[base.key])
        for phase, found in samples.items()
        for name, framework in without.items()
        if framework.key in found and base.key in found
    ]


def _row(
    name: str, framework: Framework, phase: str, source: str, off: Sequence[Sample], on: Sequence[Sample]
) -> dict[str, Any]:
    return {
        "means": name,
        "switched_off_by": next(options for mean, _, options in MEANS if mean == name),
        "precision": framework.precision,
        "phase": phase,
        "source": source,
        "images_per_second": middle(sample.speed for sample in on),
        "without": middle(sample.speed for sample in off),
        "gain": middle(ratios(on, off)),
    }


def _switches(base: Framework, options: dict[str, Any]) -> bool:
    """Whether these options change ``base``, and the installed lightning-tl has them."""
    from benchmarks.runners.ours import divide  # imports torch: only where it is needed

    try:
        divide(options)
    except TypeError:
        return False
    return any(base.options.get(option, not value) != value for option, value in options.items())
