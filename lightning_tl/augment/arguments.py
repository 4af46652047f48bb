"""Checks of constructor arguments; every message names the class and the argument."""

import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

from lightning_tl.errors import InputError

Factor = float | tuple[float, float]
"""A number f, meaning the range [-f, f] as far as it is allowed, or the range's two ends."""

Interpolation = Literal["bilinear", "nearest"]


def check_factor(owner: object, name: str, factor: Factor, low: float, high: float, open_low: bool = False) -> Factor:
    """The factor as a float or a pair of floats.

    Args:
        owner: whose argument it is.
        name: of the argument.
        factor: a number, or a list or tuple of two.
        low: smallest allowed number.
        high: largest allowed number.
        open_low: ``low`` itself is not allowed.

    Raises:
        InputError: not a number or a pair of numbers in the range.
    """
    numbers = list(factor) if isinstance(factor, (tuple, list)) else [factor]
    pair = isinstance(factor, (tuple, list))
    if len(numbers) != (2 if pair else 1) or not all(_inside(n, low, high, open_low) for n in numbers):
        raise InputError(
            f"{type(owner).__name__}: {name} must be a number in {'(' if open_low else '['}{low}, {high}] "
            f"or a list of two such numbers. Received: {factor!r}."
        )
    return (float(numbers[0]), float(numbers[1])) if pair else float(numbers[0])


def factor_range(factor: Factor, low: float) -> tuple[float, float]:
    """The range that a checked factor stands for, as Keras reads it.

    Args:
        factor: a pair in any order, or a number f for [-|f|, |f|].
        low: the range never begins below it: with 0, a number f means [0, f].
    """
    if isinstance(factor, tuple):
        return min(factor), max(factor)
    return max(-abs(factor), low), abs(factor)


def check_value_range(owner: object, value_range: Sequence[float]) -> tuple[float, float]:
    """The darkest and the brightest value that pixels may have, in this order.

    Raises:
        InputError: not two different finite numbers, the lower one first.
    """
    numbers = list(value_range) if isinstance(value_range, (tuple, list)) else []
    good = len(numbers) == 2 and all(_inside(n, -math.inf, math.inf, False) for n in numbers)
    if not good or not numbers[0] < numbers[1]:
        raise InputError(
            f"{type(owner).__name__}: value_range must be two numbers, the lower one first. Received: {value_range!r}."
        )
    return float(numbers[0]), float(numbers[1])


def check_fill_value(owner: object, fill_value: float) -> float:
    """A finite number. Raises InputError for anything else."""
    if not _inside(fill_value, -math.inf, math.inf, False):
        raise InputError(f"{type(owner).__name__}: fill_value must be a number. Received: {fill_value!r}.")
    return float(fill_value)


def check_name(owner: object, name: str, value: str, allowed: Sequence[str]) -> str:
    """One of the allowed words. Raises InputError naming the nearest one."""
    if value in allowed:
        return value
    near = get_close_matches(str(value), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(f"{type(owner).__name__}: {name} must be one of {', '.join(allowed)}. Received: {value!r}.{hint}")


def _inside(number: object, low: float, high: float, open_low: bool) -> bool:
    """Whether this is a finite number, no bool, in the range."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        return False
    return low <= number <= high and not (open_low and number == low)
