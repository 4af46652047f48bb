"""Kinds of values that arguments have, NumPy's numbers among them, and how a size is told."""

from collections.abc import Sequence
from numbers import Integral, Real

from lightning_tl.errors import InputError

SEEDS = 2**32
"""Seeds are below it, as NumPy's and Lightning's are."""


def is_number(value: object) -> bool:
    """Whether ``value`` is a number, no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether ``value`` is an integer, no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def image_sides(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) in pixels; ``size`` is both, or one number for the two. ``name`` is the argument's, for people.

    Raises:
        InputError: it is neither.
    """
    sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    if len(sides) != 2 or not all(is_whole(side) and side > 0 for side in sides):
        raise InputError(f"{name} must be a positive integer or [height, width]. Received: {size!r}.")
    return int(sides[0]), int(sides[1])


def checked_seed(name: str, seed: int) -> int:
    """``seed``; ``name`` is the argument's, for people.

    Raises:
        InputError: it is no seed for NumPy and Lightning, which a run asks too.
    """
    if not is_whole(seed) or not 0 <= seed < SEEDS:
        raise InputError(f"{name}: a non-negative integer below 2**32 is needed. Received: {seed!r}.")
    return int(seed)


def pixels(size: Sequence[int]) -> str:
    """(height, width) for a message: ``160 x 160``."""
    return " x ".join(map(str, size))
