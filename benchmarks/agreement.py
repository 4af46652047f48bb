"""Fast and wrong does not count: losses of the measured training against the reference's.

Two ways. **Shared draws**: where augmentation, dropout, order and initial head can come from one definition
(docs/randomness.md), the losses of the first steps must be equal to rounding; lightning-tl resamples one by one for
this. **Own draws**: the very steps that were timed; the frameworks see the same images in the same order and draw for
themselves, so that their losses differ by chance. The mean difference d of n steps must be within
``4 s / sqrt(n) + margin``; s is the scatter of single differences, taken from neighbours (sqrt(mean (d[i+1]-d[i])^2/2))
so that a difference that grows does not excuse itself.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.frameworks import Framework

SHARED = {"float32": 1e-3, "mixed": 1e-1}
"""Relative, of each step's loss: float32 rounding grown over the steps, and the 8 bits of bfloat16. Measured in batches
of 16 at 96 pixels, twelve steps of ``head``: Keras' own mixed model on JAX is off its float32 one by up to 0.048 (root
mean square 0.023), lightning-tl by up to 0.059 (0.035), and by up to 0.043 (0.023) where BatchNorm is not folded: the
folded weights are others, and so are their roundings. Whether the recipe is right is what float32 tells."""
SHARED_STEPS = 12
"""At most so many: as many as these were measured on. Roundings grow from step to step."""
MARGIN = {"float32": 0.05, "mixed": 0.1}
"""Share of the reference's mean loss that own draws and other resampling may make."""
SIGMAS = 4.0
OTHER_RECIPE = {"plain-lightning": 0.12, "fastai": 0.09}
"""Families whose recipe is another on purpose, and what that may make beside the margin, as a share of the mean loss.
Both have torchvision's MobileNetV2, which pads otherwise than Keras', and plain Lightning torchvision's affine
transform, which fills corners with black where the recipe reflects. Measured of plain Lightning against lightning-tl,
300 steps of fine-tuning at 96 pixels: corners make its losses larger by 0.12 of their mean, padding smaller by 0.09;
without either they are equal to 0.006."""


def choose_reference(frameworks: Sequence[Framework], keys: Sequence[str]) -> str | None:
    """The first Keras in float32, else the first lightning-tl; of those that answered."""
    there = [f for f in frameworks if f.key in keys and f.precision == "float32"]
    for family in ("keras", "lightning-tl"):
        for framework in there:
            if framework.family == family:
                return framework.key
    return None


def compare_shared(
    phase: str, losses: Mapping[str, Sequence[float]], frameworks: Sequence[Framework]
) -> list[dict[str, Any]]:
    """A verdict on each framework but the reference, with draws that all share."""
    reference = choose_reference(frameworks, list(losses))
    verdicts = []
    for framework in frameworks:
        if reference is not None and framework.key in losses and framework.key != reference:
            error, steps = shared_error(losses[framework.key], losses[reference]), len(losses[reference])
            bound = SHARED[framework.precision]
            verdicts.append(_verdict(framework, phase, "shared draws", steps, reference, error, bound))
    return verdicts


def compare_own(
    phase: str, losses: Mapping[str, Sequence[float]], frameworks: Sequence[Framework]
) -> list[dict[str, Any]]:
    """A verdict on each framework but the reference, from the steps that were timed, in order."""
    reference = choose_reference(frameworks, list(losses))
    verdicts = []
    for framework in frameworks:
        if reference is not None and framework.key in losses and framework.key != reference:
            ours, theirs = losses[framework.key], losses[reference]
            margin = MARGIN[framework.precision] + OTHER_RECIPE.get(framework.family, 0.0)
            error, bound = own_bound(ours, theirs, margin)
            verdicts.append(_verdict(framework, phase, "own draws", len(theirs), reference, error, bound))
    return verdicts


def shared_error(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest relative difference of a step's loss; NaN where any loss is."""
    pairs = zip(ours, theirs, strict=True)
    return float(np.max([abs(a - b) / abs(b) for a, b in pairs]))  # Python's max passes over a NaN


def own_bound(ours: Sequence[float], theirs: Sequence[float], margin: float) -> tuple[float, float]:
    """Mean difference and its bound, both as a fraction of the reference's mean loss."""
    scale = fmean(theirs)
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    steps = [(late - early) ** 2 for early, late in pairwise(differences)]
    scatter = sqrt(fmean(steps) / 2) if steps else 0.0
    return abs(fmean(differences)) / scale, SIGMAS * scatter / sqrt(len(differences)) / scale + margin


def refused(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Key of each framework that disagrees, to the reason."""
    reasons: dict[str, str] = {}
    for verdict in verdicts:
        if not verdict["passed"]:
            reasons[f"{verdict['framework']} {verdict['precision']}"] = (
                f"its loss in phase {verdict['phase']} ({verdict['kind']}) is {verdict['error']:.2g} (relative) from "
                f"that of {verdict['reference']}; {verdict['tolerance']:.2g} is allowed"
            )
    return reasons


def _verdict(
    framework: Framework, phase: str, kind: str, steps: int, reference: str, error: float, tolerance: float
) -> dict[str, Any]:
    return {
        "framework": framework.name,
        "precision": framework.precision,
        "phase": phase,
        "kind": kind,
        "steps": steps,
        "reference": reference,
        "error": float(f"{error:.3g}"),
        "tolerance": float(f"{tolerance:.3g}"),
        "passed": bool(error <= tolerance),  # NaN does not pass
    }
