"""Errors: how far ours is from theirs."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

Error = Callable[[ArrayLike, ArrayLike], float]


def relative(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Largest difference over the largest magnitude of theirs; infinite where shapes differ or a number is none."""
    difference = absolute(ours, theirs)
    if not np.isfinite(difference):
        return difference  # over an infinite magnitude it would be NaN, which `max` may pass over
    return difference / (float(np.abs(theirs).max(initial=0.0)) or 1.0)


def absolute(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Largest difference; infinite where shapes differ or a number is none."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    return float(np.abs(ours - theirs).max(initial=0.0))


def share(ours: ArrayLike, theirs: ArrayLike, tie: float) -> float:
    """Share of pixels that differ by more than ``tie``; infinite where shapes differ or a number is none."""
    if not np.isfinite(absolute(ours, theirs)):
        return float("inf")
    return float((np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)) > tie).any(axis=-1).mean())


def worst(ours: Mapping[str, ArrayLike], theirs: Mapping[str, ArrayLike], error: Error = relative) -> float:
    """Largest error over arrays of the same names; infinite where the names differ."""
    if set(ours) != set(theirs):
        return float("inf")
    return max((error(ours[name], theirs[name]) for name in theirs), default=0.0)


def distance(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Euclidean norm of the difference over that of theirs; infinite where shapes differ or a number is none.

    For weights after many steps: one weight of a tensor may wander where its gradient is mere rounding,
    which Adam scales up to full steps.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if not np.isfinite(absolute(ours, theirs)):
        return float("inf")
    return float(np.linalg.norm(ours - theirs) / (np.linalg.norm(theirs) or 1.0))
