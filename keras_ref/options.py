"""The ``model`` and ``data`` blocks of a config, checked."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_ref.errors import InputError

SPLIT_METHODS = ("stratified", "keras")
RESIZE_MODES = ("stretch", "crop", "pad")
BATCH_SIZES = ("per_device", "global")
"""One and the same on the one device of the reference."""
BACKBONE = "torchvision/mobilenet_v2"
"""The one network that Keras has too, under torchvision's name."""
TIMM_ALPHAS = {
    "timm/mobilenetv2_035": 0.35,
    "timm/mobilenetv2_050": 0.5,
    "timm/mobilenetv2_075": 0.75,
    "timm/mobilenetv2_100": 1.0,
    "timm/mobilenetv2_140": 1.4,
}
"""The same network under timm's names, each of one width."""
FILTERS = (16, 24, 32, 64, 96, 160, 320)
"""Channels of MobileNetV2's stages at width 1 (Sandler et al., arXiv:1801.04381, table 2)."""
DATASET = "lightning_tl.data.digits.Digits"
"""The one data set that is no folder; ``keras_ref.data.digits`` has its images."""


@dataclass(frozen=True)
class ModelConfig:
    """The ``model`` block; ``lightning_tl.classifier.TransferClassifier`` describes the fields.

    Raises:
        InputError: a value that is out of range, or that Keras has no counterpart of.
    """

    backbone: str = BACKBONE
    weights: str = "imagenet"
    dropout: float = 0.2
    augment: Sequence[Mapping[str, Any]] = ()
    fused: bool = True
    convention: str = "auto"
    class_weights: Mapping[str, float] | None = None
    label_smoothing: float = 0.0
    backbone_args: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        known = (BACKBONE, *TIMM_ALPHAS)
        check(self.backbone in known, "model.backbone", f"MobileNetV2 ({', '.join(known)})", self.backbone)
        check(self.convention in ("auto", "keras"), "model.convention", "auto or keras", self.convention)
        check(
            number(self.dropout) and 0 <= self.dropout < 1,
            "model.dropout",
            "a fraction in [0, 1)",
            self.dropout,
        )
        smoothing = self.label_smoothing
        check(number(smoothing) and 0 <= smoothing < 1, "model.label_smoothing", "a share in [0, 1)", smoothing)
        weights = self.class_weights
        weighed = weights is None or (isinstance(weights, Mapping) and all(map(number, weights.values())))
        check(weighed, "model.class_weights", "null, or a number for each class named", weights)
        unknown = sorted(set(self.backbone_args or {}) - ({"width_mult"} if self.backbone == BACKBONE else set()))
        check(not unknown, "model.backbone_args", f"nothing but width_mult of {BACKBONE}", unknown)
        width = (self.backbone_args or {}).get("width_mult", 1.0)
        check(number(width), "model.backbone_args", "a number as width_mult", width)
        alike = all(_divisible(int(filters * self.alpha)) == _divisible(filters * self.alpha) for filters in FILTERS)
        hint = "at which Keras and torchvision round all channels alike, such as 0.25, 0.5, 0.75 or 1"
        check(alike, "model.backbone_args", f"a width_mult {hint}", self.alpha)

    @property
    def alpha(self) -> float:
        """Width multiplier, Keras' name for torchvision's ``width_mult`` and what the number in timm's names is."""
        return TIMM_ALPHAS.get(self.backbone) or float((self.backbone_args or {}).get("width_mult", 1.0))


@dataclass(frozen=True)
class DataConfig:
    """The ``data`` block; ``lightning_tl.data.ImageFolderDataModule`` describes the fields.

    Raises:
        InputError: a value out of range, or a data set that is neither a folder nor the digits.
    """

    root: str | None = None
    image_size: int | Sequence[int] = 160
    batch_size: int = 32
    batch_size_is: str = "per_device"
    split: str = "stratified"
    val_fraction: float = 0.2
    test_fraction: float = 0.0
    resize: str = "stretch"
    antialias: bool = False
    on_bad_image: str = "error"
    num_workers: int = 2
    dataset: str | None = None
    dataset_args: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check(self.dataset in (None, DATASET), "data.dataset", f"null, or {DATASET}", self.dataset)
        check(not self.dataset_args, "data.dataset_args", "null", self.dataset_args)
        check(self.dataset is None or self.split != "keras", "data.split", "stratified with data.dataset", self.split)
        named = self.root is None or (isinstance(self.root, str) and self.root != "")
        check(named, "data.root", "the path of a folder (a number in quotes), or null,", self.root)
        check(
            self.root is not None or self.dataset is not None,
            "data.root",
            "the folder that holds one folder of images per class",
            self.root,
        )
        sides = list(self.image_size) if isinstance(self.image_size, Sequence) else [self.image_size] * 2
        size = len(sides) == 2 and all(whole(side, 32) for side in sides)
        check(size, "data.image_size", "pixels, or [height, width], of 32 or more", self.image_size)
        check(whole(self.batch_size, 1), "data.batch_size", "1 or more", self.batch_size)
        kind = self.batch_size_is in BATCH_SIZES
        check(kind, "data.batch_size_is", f"one of {', '.join(BATCH_SIZES)}", self.batch_size_is)
        check(whole(self.num_workers, 0), "data.num_workers", "0 or more", self.num_workers)
        check(self.resize in RESIZE_MODES, "data.resize", f"one of {', '.join(RESIZE_MODES)}", self.resize)
        check(isinstance(self.antialias, bool), "data.antialias", "true or false", self.antialias)
        check(self.on_bad_image in ("error", "skip"), "data.on_bad_image", "error or skip", self.on_bad_image)
        method = isinstance(self.split, str) and (self.split in SPLIT_METHODS or Path(self.split).suffix == ".csv")
        check(method, "data.split", "stratified, keras or a .csv file", self.split)
        self._check_fractions()
        for name in ("root", "split"):
            value = getattr(self, name)
            object.__setattr__(self, name, at_home(value) if isinstance(value, str) else value)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.image_size,) * 2 if isinstance(self.image_size, int) else (self.image_size[0], self.image_size[1])

    @property
    def split_file(self) -> str | None:
        """Path of the split file, when the split is given by one."""
        return None if self.split in SPLIT_METHODS else self.split

    def _check_fractions(self) -> None:
        val, test = self.val_fraction, self.test_fraction
        check(number(val) and 0 < val < 1, "data.val_fraction", "a number above 0 and below 1", val)
        check(
            number(test) and 0 <= test < 1 - val,
            "data.test_fraction",
            "0 or more, leaving some to train on,",
            test,
        )
        check(not (self.split == "keras" and test), "data.test_fraction", "0 with data.split keras", test)


def number(value: object) -> bool:
    """Whether ``value`` is a number, no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def whole(value: object, least: int) -> bool:
    """Whether ``value`` is an integer, no bool, of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def at_home(path: str) -> str:
    """``path`` with the user's home in place of a ``~`` in front; where nobody has a home it stays as it is."""
    return os.path.expanduser(path)  # noqa: PTH111  # pathlib raises where nobody has a home


def check(good: bool, name: str, wanted: str, received: object) -> None:
    """Raise InputError, naming the key and saying what is wanted, unless it is good."""
    if not good:
        raise InputError(f"{name}: {wanted} is needed. Received: {received!r}.")


def _divisible(channels: float) -> int:
    """Rounded to a multiple of 8, at most 10 % down, as Keras and torchvision do."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
