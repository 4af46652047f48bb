"""How the page writes numbers: every kind in one way."""

import math
from typing import Any, TypeGuard

THIN = "\u202f"
"""Narrow space that does not break, between a number and its sign or unit."""
MISSING = RANGE = "\u2013"
"""An en dash."""
MINUS = "\u2212"


def percent(share: float | None) -> str:
    """A share in [0, 1] as ``93.12 %``."""
    return f"{100 * share:.2f}{THIN}%" if _known(share) else MISSING


def points(difference: float) -> str:
    """A difference of two shares, signed, in percentage points."""
    sign = "+" if difference > 0 else MINUS if difference < 0 else "±"
    return f"{sign}{100 * abs(difference):.2f}{THIN}pp"


def interval(bounds: tuple[float, float]) -> str:
    """Bounds in [0, 1] as ``91.2 - 94.6 %``, with an en dash."""
    return f"{100 * bounds[0]:.1f}{THIN}{RANGE}{THIN}{100 * bounds[1]:.1f}{THIN}%"


def decimal(value: Any) -> str:
    """A number with four digits; a dash for what is no finite number."""
    return f"{value:.4f}" if _known(value) else MISSING


def whole(value: Any) -> str:
    """A count, thousands apart: ``12 345``."""
    return f"{round(value):,}".replace(",", THIN) if _known(value) else MISSING


def p_value(value: float) -> str:
    """``p = 0.031``, or ``p < 0.001``."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 image``, ``3 images``."""
    return f"{whole(number)} {one if number == 1 else many or one + 's'}"


def _known(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)
