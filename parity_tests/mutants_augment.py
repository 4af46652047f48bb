"""Mistakes in augmentation."""

import importlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_tl import draws
from lightning_tl.augment import (
    AugmentationPipeline,
    ColorJitter,
    Params,
    RandomContrast,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    color,
    pipeline,
    random_contrast,
)
from parity_tests.mutant import Mutant, replaced, wrapped

resample = importlib.import_module("lightning_tl.augment.resample")  # the package has a function of this name

Matrix = Callable[[Any, Params, int, int], Tensor]


def changed(cls: type, method: str, change: Callable[[Params], Params]) -> Callable[[], Any]:
    """Matrices, or images, of changed parameters; or changed draws."""

    def make(original: Any) -> Any:
        if method == "draw":
            return lambda self, uniforms: change(original(self, uniforms))
        return lambda self, params, *size: original(self, change(params), *size)

    return wrapped(cls, method, make)


def off_centre(original: Matrix) -> Matrix:
    """The centre is (W / 2, H / 2)."""
    return lambda self, params, height, width: original(self, params, height + 1, width + 1)


def swap(first: str, second: str) -> Callable[[Params], Params]:
    return lambda params: {**params, first: params[second], second: params[first]}


def mirrored(images: Tensor, grid: Tensor, fill_mode: str, fill_value: float, interpolation: str) -> Tensor:
    """``reflect`` without repeating the border pixel: d c b | a b c d | c b a."""
    if fill_mode != "reflect":
        return original_sample(images, grid, fill_mode, fill_value, interpolation)
    size = torch.tensor([images.shape[-1], images.shape[-2]], dtype=grid.dtype)
    corners = ((grid + 1.0) * size - 1.0) / (size - 1.0) - 1.0
    return F.grid_sample(images, corners, interpolation, "reflection", align_corners=True)


def shared_draw(original: Any) -> Any:
    """All samples of a batch are drawn for as its first."""
    return lambda self, index, *args: original(self, index[:1].expand_as(index), *args)


def one_stream(original: Any) -> Any:
    return lambda seed, stream, epoch: original(seed, min(stream, draws.AUGMENT), epoch)


def next_epoch(original: Any) -> Any:
    return lambda seed, stream, epoch: original(seed, stream, epoch + 1)


def rounded(original: Any) -> Any:
    """uint8 between two transforms."""
    return lambda images, group: original(images, group).round()


def uncut(images: Tensor, delta: Tensor, value_range: color.ValueRange) -> Tensor:
    return images + delta[:, None, None, None]


def grey_mean(images: Tensor, factor: Tensor, value_range: color.ValueRange) -> Tensor:
    """Contrast about the mean of all channels."""
    mean = images.mean(dim=(-3, -2, -1), keepdim=True)
    return ((images - mean) * factor.to(images.dtype)[:, None, None, None] + mean).clamp(*value_range)


def cut_at_ends(original: Any) -> Any:
    """Of eight bits."""
    return lambda images, amount, value_range: original(images, amount, (0.0, 255.0))


original_sample = resample._sample
brightness = importlib.import_module("lightning_tl.augment.random_brightness")
jitter = importlib.import_module("lightning_tl.augment.color_jitter")

ROTATION, ZOOM, SHIFT = ("RandomRotation", "pipeline"), ("RandomZoom", "pipeline"), ("RandomTranslation", "pipeline")

MUTANTS_AUGMENT = (
    Mutant(
        "one draw for the whole batch",
        "all samples of a batch are augmented alike",
        wrapped(AugmentationPipeline, "draw", shared_draw),
        ("draws", "pipeline"),
    ),
    Mutant(
        "one stream for all transforms",
        "transforms share their draws",
        wrapped(draws, "stream_key", one_stream),
        ("pipeline",),
    ),
    Mutant(
        "draws of the next epoch", "epochs are counted from 1", wrapped(draws, "stream_key", next_epoch), ("pipeline",)
    ),
    Mutant(
        "rotation sign",
        "images turn the other way",
        changed(RandomRotation, "matrix", lambda params: {"angle": -params["angle"]}),
        ROTATION,
    ),
    Mutant(
        "angle doubled",
        "the factor is a fraction of two turns",
        changed(RandomRotation, "draw", lambda params: {"angle": 2 * params["angle"]}),
        ("RandomRotation", "draws"),
    ),
    Mutant(
        "rotation centre", "the centre is half a pixel off", wrapped(RandomRotation, "matrix", off_centre), ROTATION
    ),
    Mutant("zoom centre", "the centre is half a pixel off", wrapped(RandomZoom, "matrix", off_centre), ZOOM),
    Mutant(
        "zoom inverted",
        "a zoom above 1 zooms in",
        changed(RandomZoom, "matrix", lambda params: {name: 1 / value for name, value in params.items()}),
        ZOOM,
    ),
    Mutant(
        "zoom axes swapped",
        "height's zoom is the width's",
        changed(RandomZoom, "matrix", swap("height_zoom", "width_zoom")),
        ("RandomZoom",),
    ),
    Mutant(
        "one zoom for both axes",
        "the width follows the height where it has a factor of its own",
        changed(RandomZoom, "draw", lambda params: {**params, "width_zoom": params["height_zoom"]}),
        ("RandomZoom", "draws"),
    ),
    Mutant(
        "shift axes swapped",
        "images are shifted along the other axis",
        changed(RandomTranslation, "matrix", swap("height_shift", "width_shift")),
        SHIFT,
    ),
    Mutant(
        "shift sign",
        "images are shifted the other way",
        changed(RandomTranslation, "matrix", lambda params: {name: -value for name, value in params.items()}),
        SHIFT,
    ),
    Mutant(
        "mirror instead of reflect",
        "the border pixel is not repeated",
        replaced((resample, "_sample", mirrored)),
        ("RandomRotation", "RandomZoom", "RandomTranslation"),
    ),
    Mutant(
        "fill value forgotten",
        "what lies outside is black",
        wrapped(resample, "_sample", lambda original: lambda i, g, mode, _, how: original(i, g, mode, 0.0, how)),
        ("RandomRotation", "RandomZoom", "RandomTranslation"),
    ),
    Mutant(
        "interpolation forgotten",
        "the nearest pixel is taken",
        wrapped(resample, "_sample", lambda original: lambda i, g, mode, v, _: original(i, g, mode, v, "nearest")),
        ("RandomRotation", "RandomZoom", "fused"),
    ),
    Mutant(
        "matrices in the other order",
        "the fused product is reversed",
        wrapped(pipeline, "compose", lambda original: lambda outer, inner: original(inner, outer)),
        ("fused", "fused-matrix"),
    ),
    Mutant(
        "fused by no rule",
        "one resampling for several transforms forgets their fill value and interpolation",
        wrapped(pipeline, "resample", lambda original: lambda images, matrix, mode, *_: original(images, matrix, mode)),
        ("fused-matrix",),
    ),
    Mutant(
        "rounded in between",
        "images are integers between two transforms",
        wrapped(pipeline, "_apply_group", rounded),
        ("pipeline",),
    ),
    Mutant(
        "flip decided the other way",
        "images flip above one half",
        changed(RandomFlip, "draw", lambda params: {"flips": ~params["flips"]}),
        ("RandomFlip", "pipeline"),
    ),
    Mutant(
        "flip too rare",
        "a quarter of the images flips",
        wrapped(RandomFlip, "draw", lambda _: lambda self, uniforms: {"flips": uniforms[:, 0] <= 0.25}),
        ("draws",),
    ),
    Mutant(
        "contrast of all channels",
        "contrast is about the mean of the picture",
        replaced((random_contrast, "adjust_contrast", grey_mean)),
        ("RandomContrast", "pipeline"),
    ),
    Mutant(
        "contrast symmetric",
        "the range ends where it should begin",
        changed(RandomContrast, "draw", lambda params: {"contrast_factor": 2 - params["contrast_factor"]}),
        ("draws", "RandomContrast"),
    ),
    Mutant(
        "brightness not cut",
        "pixels leave [0, 255]",
        replaced((brightness, "adjust_brightness", uncut)),
        ("RandomBrightness", "pipeline"),
    ),
    Mutant(
        "value range forgotten",
        "colours are cut at 0 and 255 whatever the value range is",
        replaced(
            (random_contrast, "adjust_contrast", cut_at_ends(color.adjust_contrast)),
            (brightness, "adjust_brightness", cut_at_ends(color.adjust_brightness)),
            (jitter, "ADJUSTMENTS", {name: cut_at_ends(adjust) for name, adjust in jitter.ADJUSTMENTS.items()}),
        ),
        ("RandomContrast", "RandomBrightness", "ColorJitter"),
    ),
    Mutant(
        "hue in one direction",
        "the hue turns forwards alone",
        changed(
            ColorJitter, "draw", lambda params: {**params, **{k: v.abs() for k, v in params.items() if "hue" in k}}
        ),
        ("draws", "ColorJitter"),
    ),
)
