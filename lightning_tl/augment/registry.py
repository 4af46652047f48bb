"""Transforms by name, as they stand in YAML files and checkpoints."""

import importlib
import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from lightning_tl.augment.base import Augmentation, arguments_of
from lightning_tl.augment.color_jitter import ColorJitter
from lightning_tl.augment.random_brightness import RandomBrightness
from lightning_tl.augment.random_contrast import RandomContrast
from lightning_tl.augment.random_flip import RandomFlip
from lightning_tl.augment.random_rotation import RandomRotation
from lightning_tl.augment.random_translation import RandomTranslation
from lightning_tl.augment.random_zoom import RandomZoom
from lightning_tl.errors import InputError

TRANSFORMS: dict[str, type[Augmentation]] = {
    cls.__name__: cls
    for cls in (
        RandomFlip,
        RandomRotation,
        RandomZoom,
        RandomTranslation,
        RandomContrast,
        RandomBrightness,
        ColorJitter,
    )
}
"""The transforms of this package by their short names."""


def from_config(config: Mapping[str, Any]) -> Augmentation:
    """Build a transform from ``{"class_path": …, "init_args": {…}}``.

    Args:
        config: ``class_path`` is a short name (``RandomFlip``), a full one
            (``lightning_tl.augment.RandomFlip``) or the import path of your own ``Augmentation``;
            ``init_args`` may be absent.

    Raises:
        InputError: the class or an argument is unknown, or an argument is outside its range.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("class_path"), str):
        raise InputError(f"augment: an element needs a class_path (a string). Received: {config!r}.")
    unknown = sorted(set(config) - {"class_path", "init_args"})
    if unknown:
        raise InputError(f"augment: an element has class_path and init_args. Received also: {unknown}.")
    cls = _find(config["class_path"])
    arguments = config.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise InputError(f"{cls.__name__}: init_args must map names to values. Received: {arguments!r}.")
    _check_names(cls, arguments)
    try:
        return cls(**arguments)
    except TypeError as error:
        raise InputError(
            f"{cls.__name__}: it does not take these init_args ({error}). Received: {dict(arguments)!r}."
        ) from error


def _find(class_path: str) -> type[Augmentation]:
    """The class of this name, or the nearest names in the error."""
    module, _, name = class_path.rpartition(".")
    if module in ("", __package__):
        if name in TRANSFORMS:
            return TRANSFORMS[name]
        near = get_close_matches(name, TRANSFORMS, n=2, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(TRANSFORMS)}."
        raise InputError(f"augment: unknown transform {class_path!r}. {hint}")
    return _imported(class_path, module, name)


def _imported(class_path: str, module: str, name: str) -> type[Augmentation]:
    """A class from outside this package."""
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"augment: cannot import {class_path!r}: {error}. Put the class into a module that Python finds; where "
            "nothing is trained, load_from_checkpoint(..., augment=[]) does without."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Augmentation)):
        raise InputError(f"augment: {class_path!r} must be a subclass of lightning_tl.augment.Augmentation.")
    if inspect.isabstract(found):
        missing = " and ".join(sorted(found.__abstractmethods__))
        raise InputError(f"augment: {class_path!r} must define {missing}, as lightning_tl.augment.Augmentation says.")
    return found


def _check_names(cls: type[Augmentation], arguments: Mapping[str, Any]) -> None:
    """Unknown and missing arguments, by name."""
    parameters, takes_others = arguments_of(cls)
    unknown = [name for name in arguments if name not in parameters]
    if unknown and not takes_others:
        raise InputError(f"{cls.__name__}: unknown argument {unknown[0]!r}. It takes {', '.join(parameters)}.")
    missing = [
        name for name, parameter in parameters.items() if parameter.default is parameter.empty and name not in arguments
    ]
    if missing:
        raise InputError(f"{cls.__name__}: {missing[0]} is missing; it has no default.")
