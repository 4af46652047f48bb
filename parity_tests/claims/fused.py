"""Claim 10, one resampling for several transforms: whole pictures, by every rule of filling and interpolating."""

import numpy as np
import torch

from lightning_tl.augment import AugmentationPipeline, Geometric, from_config
from parity_tests import ours
from parity_tests.claim import claim
from parity_tests.claims.augmentation import (
    FILL_MODES,
    GAPS,
    GEOMETRIC,
    IMAGES,
    LARGE,
    MIXED,
    ODD,
    TIE,
    UNIFORMS,
    reads_inside,
)
from parity_tests.compare import absolute, share
from parity_tests.processes import KerasProcess

SOURCES = {"bilinear": (f"noise {ODD}", f"noise {MIXED}"), "nearest": tuple(f"noise {size}" for size in LARGE)}
"""Large ones where pixels are counted: one tie is then a small share."""
RULES = tuple((mode, how) for mode in FILL_MODES for how in ("bilinear", "nearest"))


def transforms(fill_mode: str, interpolation: str) -> list[Geometric]:
    """Flip, rotation and zoom of one rule."""
    rule = {"fill_mode": fill_mode, "fill_value": 70.0, "interpolation": interpolation}
    wide = {name: {**GEOMETRIC[name], **rule} for name in ("RandomRotation", "RandomZoom")}
    configs = {"RandomFlip": {"mode": "horizontal_and_vertical"}, **wide}
    built = [from_config({"class_path": name, "init_args": args}) for name, args in configs.items()]
    return [transform for transform in built if isinstance(transform, Geometric)]


def product(members: list[Geometric], height: int, width: int) -> np.ndarray:
    """From pixels of the last output to those of the first input, float64 (batch, 3, 3)."""
    uniforms = torch.from_numpy(UNIFORMS).double()
    matrices = [member.matrix(member.draw(uniforms), height, width).numpy() for member in members]
    first, second, third = matrices
    return np.asarray(first @ second @ third)


def rule_error(theirs: KerasProcess, source: str, fill_mode: str, interpolation: str) -> float:
    """Largest difference on [0, 255]; without interpolation the share of pixels that are others."""
    images, members = IMAGES[source], transforms(fill_mode, interpolation)
    matrix = product(members, *images.shape[1:3])
    options = {"fill_mode": fill_mode, "fill_value": 70.0, "interpolation": interpolation}
    expected = theirs.call("augmentation.affine", options, images=images, matrix=matrix)["images"]
    uniforms = torch.from_numpy(UNIFORMS).to(torch.float64 if theirs.float64 else torch.float32)
    pipeline = AugmentationPipeline(members)
    params = [member.draw(uniforms) for member in members]
    found = ours.to_numpy(pipeline.apply(ours.to_torch(images, theirs.float64), params))
    if fill_mode == "wrap" and theirs.backend == "tensorflow":
        inside = reads_inside(matrix, *images.shape[1:3])
        found, expected = found[inside], expected[inside]
    return share(found, expected, TIE) if interpolation == "nearest" else absolute(found, expected)


@claim(
    "fused-matrix",
    10,
    "Flip, rotation and zoom in one resampling against keras.ops.image.affine_transform by the product of their "
    f"matrices: largest difference of a pixel of noise on [0, 255], whole pictures, by fill mode. {GAPS}",
)
def fused_matrix(theirs: KerasProcess) -> dict[str, float]:
    return {
        mode if how == "bilinear" else f"{mode}, interpolation nearest": max(
            rule_error(theirs, source, mode, how) for source in SOURCES[how]
        )
        for mode, how in RULES
    }
