"""Claim 10: each augmentation, told the same draws, makes the same picture of the same pixels."""

from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from lightning_tl.augment import Augmentation, Geometric, Params, RandomRotation, from_config
from parity_tests import ours
from parity_tests.claim import claim
from parity_tests.compare import absolute, share
from parity_tests.processes import KerasProcess

BATCH = 6
ODD, EVEN, MIXED, LARGE = (23, 17), (32, 32), (64, 65), ((160, 160), (225, 224))

GEOMETRIC: dict[str, dict[str, Any]] = {
    "RandomRotation": {"factor": 0.5},
    "RandomZoom": {"height_factor": [-0.7, 0.9], "width_factor": [-0.6, 0.95]},
    "RandomTranslation": {"height_factor": 0.9, "width_factor": 0.8},
}
"""Far wider than the recipe, so that borders are crossed more than once."""

NARROW = "value_range [20, 200]"
COLOURS: dict[str, dict[str, dict[str, Any]]] = {
    "RandomFlip": {mode: {"mode": mode} for mode in ("horizontal", "vertical", "horizontal_and_vertical")},
    "RandomContrast": {"": {"factor": [0.8, 0.8]}, NARROW: {"factor": [0.8, 0.8], "value_range": [20, 200]}},
    "RandomBrightness": {"": {"factor": 0.4}, NARROW: {"factor": 0.4, "value_range": [20, 200]}},
    "ColorJitter": {
        "saturation": {"saturation_factor": [0.0, 0.5]},
        "saturation, one number": {"saturation_factor": 0.45},
        "hue": {"hue_factor": 1.0},
        NARROW: {"brightness_factor": 0.3, "contrast_factor": 0.8, "hue_factor": 1.0, "value_range": [20, 200]},
        "all four": {
            "brightness_factor": 0.3,
            "contrast_factor": [0.5, 0.5],
            "saturation_factor": [0.0, 0.5],
            "hue_factor": 0.5,
        },
    },
}
"""Saturation up to its middle: above it ours cuts at full saturation and Keras, in [0, 255], does not."""

FILL_MODES = ("reflect", "constant", "nearest", "wrap")


class Case(NamedTuple):
    """One layer on one batch of images.

    Attributes:
        variant: under which the error is reported.
        name: of the transform.
        arguments: of its constructor.
        images: key of the batch.
    """

    variant: str
    name: str
    arguments: dict[str, Any]
    images: str

    @property
    def config(self) -> dict[str, Any]:
        return {"class_path": self.name, "init_args": self.arguments}


def waves(height: int, width: int) -> np.ndarray:
    """Smooth pictures in [0, 255] with two waves across: float64 (BATCH, height, width, 3)."""
    y, x = np.linspace(0, 12.6, height)[:, None, None], np.linspace(0, 12.6, width)[None, :, None]
    phase = np.arange(BATCH * 3).reshape(BATCH, 1, 1, 3)
    return np.asarray(127.5 + 60.0 * np.sin(x + phase) + 60.0 * np.cos(y - phase))


def noise(height: int, width: int) -> np.ndarray:
    """The hardest pictures, every pixel another number: uint8 (BATCH, height, width, 3)."""
    return np.random.default_rng(height).integers(0, 256, (BATCH, height, width, 3), dtype=np.uint8)


IMAGES = {f"noise {size}": noise(*size) for size in (ODD, EVEN, MIXED, *LARGE)}
IMAGES |= {f"waves {size}": waves(*size) for size in LARGE}
UNIFORMS = np.random.default_rng(0).integers(0, 2**24, (BATCH, 5)).astype(np.float32) * np.float32(2**-24)
"""Draws for all five of ColorJitter; other transforms take the first."""


def geometric_cases(name: str) -> list[Case]:
    """Every fill mode on odd, even and large pictures; noise at sizes of photographs; no interpolation."""
    arguments, cases = GEOMETRIC[name], []
    for mode in FILL_MODES:
        filled = {**arguments, "fill_mode": mode, "fill_value": 70.0}
        sources = [f"noise {ODD}", f"noise {EVEN}", *(f"waves {LARGE[mode == 'wrap']}",)]
        cases += [Case(mode, name, filled, images) for images in sources]
    cases += [Case("noise, 160 and 225 px", name, arguments, f"noise {size}") for size in LARGE]
    pixels = {**arguments, "interpolation": "nearest"}
    return [*cases, *(Case("interpolation nearest", name, pixels, f"noise {size}") for size in (MIXED, LARGE[0]))]


def colour_cases(name: str) -> list[Case]:
    """Every set of arguments on odd and even sizes."""
    kinds = COLOURS[name].items()
    return [Case(kind, name, args, f"noise {size}") for kind, args in kinds for size in (ODD, EVEN, LARGE[0])]


def float64_cases() -> list[Case]:
    """One case of every transform and of every fill mode, reported by transform."""
    cases = [
        Case(name, name, {**arguments, "fill_mode": mode, "fill_value": 70.0}, f"noise {MIXED}")
        for name, arguments in GEOMETRIC.items()
        for mode in FILL_MODES
    ]
    return cases + [Case(n, n, args, f"noise {ODD}") for n, kinds in COLOURS.items() for args in kinds.values()]


def measure(theirs: KerasProcess, cases: list[Case]) -> dict[str, float]:
    """The largest error of each variant."""
    named = [[str(number), case.config, case.images, "uniforms"] for number, case in enumerate(cases)]
    arrays = {key: IMAGES[key] for key in sorted({case.images for case in cases})}
    answers = theirs.call("augmentation.injected", {"cases": named}, uniforms=UNIFORMS, **arrays)
    errors: dict[str, float] = {}
    for number, case in enumerate(cases):
        error = case_error(case, answers[str(number)], theirs)
        errors[case.variant] = max(error, errors.get(case.variant, 0.0))
    return errors


def case_error(case: Case, expected: np.ndarray, theirs: KerasProcess) -> float:
    """Largest difference on [0, 255]; without interpolation the share of pixels that are others."""
    transform = from_config(case.config)
    result = apply(transform, IMAGES[case.images], theirs.float64)
    if case.arguments.get("interpolation") == "nearest":
        return share(result, expected, TIE)
    if case.arguments.get("fill_mode") == "wrap" and theirs.backend == "tensorflow":
        assert isinstance(transform, Geometric)
        params = transform.draw(torch.from_numpy(UNIFORMS[:, : transform.draws]).double())
        inside = reads_inside(transform.matrix(params, *result.shape[1:3]).numpy(), *result.shape[1:3])
        return absolute(result[inside], expected[inside])
    return absolute(result, expected)


TIE = 1e-3
"""Pixels that differ by more come from another place: where a point lies in the middle between two."""


def apply(transform: Augmentation, images: np.ndarray, float64: bool) -> np.ndarray:
    """Our picture, (batch, height, width, 3)."""
    uniforms = torch.from_numpy(UNIFORMS[:, : transform.draws]).to(torch.float64 if float64 else torch.float32)
    return ours.to_numpy(transform.apply(ours.to_torch(images, float64), transform.draw(uniforms)))


def reads_inside(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which pixels read nothing from outside the image, bool (batch, height, width), by float64 matrices.

    TensorFlow alone does not interpolate between the last column and the first when it wraps.
    """
    y, x = np.mgrid[:height, :width].astype(float)
    place = np.einsum("bij,jhw->bihw", matrix, np.stack([x, y, np.ones_like(x)]))[:, :2]
    last = np.array([width - 1, height - 1])[None, :, None, None]
    inside: np.ndarray = ((place > 1e-3) & (place < last - 1e-3)).all(axis=1)
    assert 0.01 < inside.mean() < 1
    return inside


SAME = "With the same draws, the largest difference of a pixel on [0, 255]"
GAPS = (
    "Without interpolation the error is the share of pixels that differ; on TensorFlow `wrap` is compared only where "
    "nothing is read from outside the image, since it alone does not interpolate between the last column and the first."
)


@claim("RandomRotation", 10, f"{SAME}, by fill mode. {GAPS}", dtypes=("float32",))
def rotation(theirs: KerasProcess) -> dict[str, float]:
    return measure(theirs, geometric_cases("RandomRotation"))


@claim(
    "RandomRotation-matrix",
    10,
    "Resampled by the matrix that Keras makes of the angle, which sets aside how a backend computes sines: largest "
    f"difference of a pixel on [0, 255], by fill mode. {GAPS}",
    dtypes=("float32",),
)
def rotation_by_matrix(theirs: KerasProcess) -> dict[str, float]:
    cases = geometric_cases("RandomRotation")
    sizes = sorted({IMAGES[case.images].shape[1:3] for case in cases})
    options = {"layer": cases[0].config, "sizes": sizes}
    matrices = theirs.call("augmentation.rotation_matrices", options, uniforms=UNIFORMS)

    def matrix(self: RandomRotation, params: Params, height: int, width: int) -> torch.Tensor:
        return torch.from_numpy(matrices[f"{height}x{width}"])

    with patch.object(RandomRotation, "matrix", matrix):
        return measure(theirs, cases)


@claim("RandomZoom", 10, f"{SAME}, by fill mode. {GAPS}", dtypes=("float32",))
def zoom(theirs: KerasProcess) -> dict[str, float]:
    return measure(theirs, geometric_cases("RandomZoom"))


@claim("RandomTranslation", 10, f"{SAME}, by fill mode. {GAPS}", dtypes=("float32",))
def translation(theirs: KerasProcess) -> dict[str, float]:
    return measure(theirs, geometric_cases("RandomTranslation"))


@claim("RandomFlip", 10, f"{SAME}, by mode.", dtypes=("float32",))
def flip(theirs: KerasProcess) -> dict[str, float]:
    return measure(theirs, colour_cases("RandomFlip"))


@claim("RandomContrast", 10, f"{SAME}.", dtypes=("float32",))
def contrast(theirs: KerasProcess) -> dict[str, float]:
    return measure(theirs, colour_cases("RandomContrast"))


@claim("RandomBrightness", 10, f"{SAME}.", dtypes=("float32",))
def brightness(theirs: KerasProcess) -> dict[str, float]:
    return measure(theirs, colour_cases("RandomBrightness"))


@claim("ColorJitter", 10, f"{SAME}, by what is adjusted.", dtypes=("float32",))
def jitter(theirs: KerasProcess) -> dict[str, float]:
    return measure(theirs, colour_cases("ColorJitter"))


@claim("augmentation-float64", 10, f"{SAME}, images being float64, by transform. {GAPS}", dtypes=("float64",))
def in_float64(theirs: KerasProcess) -> dict[str, float]:
    return measure(theirs, float64_cases())
