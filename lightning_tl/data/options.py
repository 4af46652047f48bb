"""The arguments of a data module, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

from lightning_tl.data.cache import CACHE_MODES, CacheMode, ImageSettings
from lightning_tl.data.check import BAD_IMAGE_POLICIES, BadImagePolicy
from lightning_tl.data.decode import RESIZE_MODES, ResizeMode
from lightning_tl.errors import InputError
from lightning_tl.files import at_home
from lightning_tl.values import checked_seed, image_sides, is_number, is_whole

SPLIT_METHODS = ("stratified", "keras")
ALL = "all"
"""As split: every image is held out, for what does not train."""

DIVISION: dict[str, str | float] = {"split": "stratified", "val_fraction": 0.2, "test_fraction": 0.0}
"""Fields that say how images are divided, with their defaults."""

PATHS = ("root", "split", "cache_folder")
"""Fields in which a ``~`` in front stands for the user's home."""

BatchSizeIs = Literal["per_device", "global"]
BATCH_SIZES: tuple[BatchSizeIs, ...] = ("per_device", "global")


@dataclass(frozen=True)
class DataOptions:
    """What ``ImageFolderDataModule`` was asked for; its docstring describes the fields.

    Raises:
        InputError: an argument is out of range.
    """

    root: str | None
    image_size: int | Sequence[int]
    batch_size: int
    batch_size_is: BatchSizeIs
    split: str
    val_fraction: float
    test_fraction: float
    resize: ResizeMode
    antialias: bool
    on_bad_image: BadImagePolicy
    num_workers: int
    seed: int
    dataset: str | None
    dataset_args: dict[str, Any]
    cache: CacheMode
    cache_folder: str | None
    cache_gb: float

    def __post_init__(self) -> None:
        for name in PATHS:
            value = getattr(self, name)
            object.__setattr__(self, name, at_home(value) if isinstance(value, str) else value)
        image_sides("data.image_size", self.image_size)
        _check_integer("batch_size", self.batch_size, 1)
        _check_choice("batch_size_is", self.batch_size_is, BATCH_SIZES)
        _check_integer("num_workers", self.num_workers, 0)
        checked_seed("data.seed", self.seed)
        _check_flag("antialias", self.antialias)
        _check_choice("resize", self.resize, RESIZE_MODES)
        _check_choice("on_bad_image", self.on_bad_image, BAD_IMAGE_POLICIES)
        _check_choice("cache", self.cache, CACHE_MODES)
        if not is_number(self.cache_gb) or not 0 < self.cache_gb < inf:
            raise InputError(
                f"data.cache_gb must be a finite number of gigabytes above 0. Received: {self.cache_gb!r}."
            )
        self._check_fractions()
        self._check_split()
        self._check_source()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return image_sides("data.image_size", self.image_size)

    def batch_size_on(self, devices: int) -> int:
        """Images in a batch of each of ``devices``.

        Raises:
            InputError: the global batch does not divide by them.
        """
        if self.batch_size_is == "per_device":
            return self.batch_size
        if self.batch_size % devices:
            raise InputError(
                f"data.batch_size: a global batch must divide by the {devices} devices of the run. "
                f"Received: {self.batch_size}; give a multiple of {devices}, or set data.batch_size_is to per_device."
            )
        return self.batch_size // devices

    @property
    def image_settings(self) -> ImageSettings:
        """What decides the pixels of a decoded file."""
        return ImageSettings(self.size, self.resize, self.antialias)

    @property
    def split_file(self) -> str | None:
        """Path of the split file, when the split is given by one."""
        return None if self.split in (*SPLIT_METHODS, ALL) else self.split

    def _check_fractions(self) -> None:
        if not is_number(self.val_fraction) or not 0 < self.val_fraction < 1:
            raise InputError(
                f"data.val_fraction must be a number with 0 < val_fraction < 1. Received: {self.val_fraction!r}."
            )
        if not is_number(self.test_fraction) or not 0 <= self.test_fraction < 1:
            raise InputError(
                f"data.test_fraction must be a number with 0 <= test_fraction < 1. Received: {self.test_fraction!r}."
            )
        if self.val_fraction + self.test_fraction >= 1:
            raise InputError(
                "data.val_fraction and data.test_fraction must leave something to train on. "
                f"Received: {self.val_fraction} and {self.test_fraction}."
            )

    def _check_split(self) -> None:
        if self.split_file and Path(self.split_file).suffix != ".csv":
            raise InputError(
                f"data.split must be {', '.join(SPLIT_METHODS)}, {ALL} (which cannot train) or the path of a .csv "
                f"file. Received: {self.split!r}."
            )
        if self.split == "keras" and self.test_fraction:
            raise InputError(
                "data.split keras knows train and val only. Set data.test_fraction to 0, or data.split to "
                f"stratified. Received: test_fraction {self.test_fraction}."
            )

    def _check_source(self) -> None:
        if self.dataset is None and self.root is None:
            raise InputError("data.root is missing: the folder that holds one folder of images per class.")
        if self.root == "":  # which pathlib takes for the current folder
            raise InputError("data.root: a folder is needed; an unset shell variable gives none. Received: ''.")
        if self.dataset is None and self.dataset_args:
            raise InputError(f"data.dataset_args need data.dataset. Received: {self.dataset_args}.")
        if self.dataset is not None and self.split == "keras":
            raise InputError(f"data.split keras divides folders, not data.dataset {self.dataset!r}. Use stratified.")


def _check_integer(name: str, value: int, least: int) -> None:
    if not is_whole(value) or value < least:
        raise InputError(f"data.{name} must be an integer of at least {least}. Received: {value!r}.")


def _check_flag(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise InputError(f"data.{name} must be true or false. Received: {value!r}.")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"data.{name} must be one of {', '.join(choices)}. Received: {value!r}.")
