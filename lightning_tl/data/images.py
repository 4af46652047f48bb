"""The images of a source, resized: kept decoded where the options say, or decoded whenever they are needed."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_tl.caches import FOLDER_VARIABLE, default_folder
from lightning_tl.data.cache import GIGABYTE, Pixels, keep_in_memory
from lightning_tl.data.cache_file import keep_on_disk
from lightning_tl.data.check import BadImage
from lightning_tl.data.dataset import UNKNOWN_LABEL, Held, ImageDataset, KeptImages
from lightning_tl.data.options import DataOptions
from lightning_tl.data.source import Source


class SourceImages:
    """The images of a source.

    Args:
        source: where they come from.
        options: their size, how they are resized, and where they are kept.
    """

    def __init__(self, source: Source, options: DataOptions) -> None:
        self._source, self._options = source, options
        self._held: Held | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For another process, as of ``ddp_spawn``: it maps a file anew, instead of being sent all that is in it."""
        state = self.__dict__.copy()
        if self._options.cache == "disk":
            state.pop("_kept", None)
            state["_held"] = None
        return state

    @property
    def read(self) -> Callable[[str], Tensor]:
        """From a path of the source to uint8 RGB of any size, shape (3, height, width)."""
        return self._source.read

    @cached_property
    def bad(self) -> tuple[BadImage, ...]:
        """Those that cannot be decoded; each is decoded once to find out.

        Data sets check their own files, most by checksum: unless bad ones are to be skipped, they are not all decoded.
        """
        if self._kept is not None:
            return self._kept.bad
        trusted = self._source.root is None and self._options.on_bad_image == "error"
        return () if trusted else self._source.find_bad(self._paths)

    def dataset(
        self, paths: Sequence[str], labels: Sequence[int], indices: Sequence[int], device: torch.device
    ) -> ImageDataset | KeptImages:
        """Some of them as a data set.

        Args:
            paths: of the source.
            labels: class positions, one per path.
            indices: positions in the split file, one per path.
            device: that ``cache: device`` keeps them on.
        """
        if self._kept is None:
            return decoded_when_needed(self._options, self.read, paths, labels, indices)
        device = device if self._options.cache == "device" else torch.device("cpu")
        if self._held is None or self._held.device != device:
            self._held = Held(self._kept.images, device)
        return KeptImages(self._held, [self._row_of[path] for path in paths], labels, indices)

    def pixels(self, paths: Sequence[str]) -> Tensor:
        """As the data set gives them: uint8 (len(paths), 3, height, width), on the CPU.

        Raises:
            InputError: a file can no longer be decoded.
        """
        if self._kept is not None:
            return self._kept.images[[self._row_of[path] for path in paths]]
        unknown = [UNKNOWN_LABEL] * len(paths)
        images = decoded_when_needed(self._options, self.read, paths, unknown, range(len(paths)))
        threads = 1 if self._source.root is None else os.cpu_count()  # not every data set is made for several
        with ThreadPoolExecutor(threads) as pool:
            return torch.stack([item["image"] for item in pool.map(images.__getitem__, range(len(paths)))])

    @cached_property
    def _kept(self) -> Pixels | None:
        """The pixels of all of them, row by row; None where they are decoded when needed."""
        source, options = self._source, self._options
        if options.cache in ("ram", "device"):
            return keep_in_memory(self._paths, options.image_settings, source.find_bad)
        if options.cache == "none" or source.root is None:
            return None
        folder = Path(options.cache_folder) if options.cache_folder else default_folder()
        if folder is None:
            rank_zero_warn(
                "data.cache: this user has no home folder, in which decoded images would be kept; they are decoded in "
                f"every epoch. Give data.cache_folder, or set {FOLDER_VARIABLE}."
            )
            return None
        return keep_on_disk(self._paths, source.root, options.image_settings, folder, int(options.cache_gb * GIGABYTE))

    @cached_property
    def _paths(self) -> list[str]:
        return [sample.path for sample in self._source.samples]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        """From a path to its row in the kept pixels."""
        return {path: row for row, path in enumerate(self._paths)}


def decoded_when_needed(
    options: DataOptions,
    read: Callable[[str], Tensor],
    paths: Sequence[str],
    labels: Sequence[int],
    indices: Sequence[int],
) -> ImageDataset:
    """Images read from ``paths``, resized as the options say; see ``ImageDataset``."""
    return ImageDataset(paths, labels, indices, read, options.size, options.resize, options.antialias)
