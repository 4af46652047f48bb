"""The width multiplier of a MobileNetV2, told by the shapes of its tensors."""

from collections.abc import Mapping
from typing import Any, Literal

from lightning_tl.bridge.shapes import mismatches
from lightning_tl.keras_layers import ALPHAS, Library, name_table

Names = Literal["keras", "torchvision", "timm"]

_GRID = tuple(hundredths / 100 for hundredths in range(5, 201))
"""Widths beside the published ones, tried in this order."""


def find_alpha(tensors: Mapping[str, Any], names: Names) -> float:
    """The width at which a MobileNetV2 has these shapes, or the nearest one when there is none.

    Widths that round to the same channels are told apart by nothing: the published one is returned, else the
    smallest multiple of 0.01 in [0.05, 2].

    Args:
        tensors: name to tensor, or to shape; further names are ignored.
        names: whose names they are.
    """
    wrong = {alpha: mismatches(shapes_at(alpha, names), tensors) for alpha in ALPHAS}
    if min(wrong.values()) > 0 and mismatches(shapes_at(1.0, names), tensors) < len(shapes_at(1.0, names)):
        wrong |= {alpha: mismatches(shapes_at(alpha, names), tensors) for alpha in _GRID if alpha not in wrong}
    return min(wrong, key=lambda alpha: (wrong[alpha], alpha not in ALPHAS, alpha))


def shapes_at(alpha: float, names: Names) -> dict[str, tuple[int, ...]]:
    """Name to shape of every tensor of MobileNetV2 at this width, in the axis order of ``names``."""
    library: Library = "timm" if names == "timm" else "torchvision"
    table = name_table(library, alpha)
    if names == "keras":
        return {row.keras: row.shape for row in table}
    return {row.torch: row.torch_shape for row in table}
