"""Samples as map-style data sets of uint8 images of one size: read one by one, or decoded already."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from lightning_tl.data.decode import ResizeMode, decode_image, resize_image
from lightning_tl.errors import InputError

UNKNOWN_LABEL = -1
"""Label of an image to predict."""

PADDING = -1
"""Index of an image that only fills up a batch, so that all ranks step together; it weighs nothing."""


class Item(TypedDict):
    """One image; the default collation makes it the batch of tensors with one dimension more.

    Attributes:
        image: uint8 in [0, 255], shape (3, height, width).
        label: position of its class in the list of classes, or ``UNKNOWN_LABEL``.
        index: position in the split file, or for prediction in the list of paths; ``PADDING`` in padding.
    """

    image: Tensor
    label: int
    index: int


class FileReader:
    """Reads images from files below a folder.

    Args:
        root: that paths are relative to; absolute paths are taken as they are.
    """

    def __init__(self, root: str | Path = "") -> None:
        self.root = Path(root)

    def __call__(self, path: str) -> Tensor:
        """The image at ``path``: uint8, shape (3, height, width). Raises InputError if it does not decode."""
        return decode_image(self.root / path)


class ImageDataset(Dataset[Item]):
    """Images read by path and resized.

    Args:
        paths: as ``read`` takes them.
        labels: class positions, one per path.
        indices: positions in the split file, one per path.
        read: from a path to uint8 RGB of any size, shape (3, height, width).
        size: (height, width) of every item in pixels.
        resize: stretch, crop or pad; see ``resize_image``.
        antialias: see ``resize_image``.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: Sequence[int],
        indices: Sequence[int],
        read: Callable[[str], Tensor],
        size: tuple[int, int],
        resize: ResizeMode = "stretch",
        antialias: bool = False,
    ) -> None:
        self.paths = tuple(paths)
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self.indices = torch.tensor(indices, dtype=torch.int64)
        self.read = read
        self.size = size
        self.resize = resize
        self.antialias = antialias

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Item:
        """The sample at ``position``; for ``~position``, which is below zero, the same image as padding."""
        index = PADDING if position < 0 else int(self.indices[position])
        position = ~position if position < 0 else position
        image = resize_image(self.read(self.paths[position]), self.size, self.resize, self.antialias)
        return {"image": image, "label": int(self.labels[position]), "index": index}


class Held:
    """Pixels on a device, where the process that asks for them first puts them.

    Args:
        pixels: uint8, (all images, 3, height, width), on the CPU.
        device: where they are wanted.
    """

    def __init__(self, pixels: Tensor, device: torch.device) -> None:
        self.pixels, self.device = pixels, device
        self._there: Tensor | None = None

    @property
    def tensor(self) -> Tensor:
        """The pixels, on the device. Raises InputError where that has no room for them."""
        if self._there is None:
            try:
                self._there = self.pixels.to(self.device)
            except torch.OutOfMemoryError as error:
                size = f"{self.pixels.nbytes / 2**30:.1f} GiB of pixels"
                raise InputError(
                    f"data.cache: {size} do not fit on {self.device}. Received: device; use disk, or ram."
                ) from error
        return self._there

    def __getstate__(self) -> dict[str, Any]:
        """Other processes put them there themselves."""
        return {**self.__dict__, "_there": None}


class KeptImages(Dataset[Item]):
    """Images that were decoded and resized before; a whole batch is taken at once.

    Args:
        images: uint8, (all images, 3, height, width).
        rows: of ``images``, one per sample.
        labels: class positions, one per sample.
        indices: positions in the split file, one per sample.

    Attributes:
        pinned: whether batches are gathered where a GPU reads them by itself; not in worker processes.
    """

    pinned = False

    def __init__(self, images: Held, rows: Sequence[int], labels: Sequence[int], indices: Sequence[int]) -> None:
        self.images = images
        self.rows = torch.tensor(rows, dtype=torch.int64)
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self.indices = torch.tensor(indices, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Item:
        """As ``ImageDataset``."""
        item: Item = self.__getitems__([position])[0]
        return item

    def __getitems__(self, positions: Sequence[int]) -> "Taken":
        """The items of these positions, as ``DataLoader`` asks for them, of a batch that ``collate`` need not make."""
        given = torch.tensor(positions, dtype=torch.int64)
        padding = given < 0
        place = torch.where(padding, ~given, given)
        images = self.images.tensor
        rows = self.rows[place].to(images.device, non_blocking=True)
        pinned = self.pinned and images.device.type == "cpu" and get_worker_info() is None
        taken = torch.empty((len(rows), *images.shape[1:]), dtype=images.dtype, device=images.device, pin_memory=pinned)
        return Taken(
            image=torch.index_select(images, 0, rows, out=taken),
            label=self.labels[place],
            index=self.indices[place].masked_fill(padding, PADDING),
        )


class Taken(Sequence[Item]):
    """Items that were taken together: a list of them for any collation, and the batch itself for ours.

    Args:
        image: uint8, (batch, 3, height, width).
        label: int64, (batch,).
        index: int64, (batch,).
    """

    def __init__(self, image: Tensor, label: Tensor, index: Tensor) -> None:
        self._batch = {"image": image, "label": label, "index": index}

    def __len__(self) -> int:
        return len(self._batch["label"])

    def __getitem__(self, place: Any) -> Any:
        """The item there, or a list of those of a slice. Raises IndexError where there is none."""
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        image, label, index = (values[place] for values in self._batch.values())
        return {"image": image, "label": int(label), "index": int(index)}

    @staticmethod
    def collate(taken: Any) -> dict[str, Tensor]:
        """The batch of ``taken``, which is one already."""
        batch: dict[str, Tensor] = taken._batch
        return batch
