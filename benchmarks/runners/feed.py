"""Batches in memory for the torch frameworks."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.resident import Images

ENDLESS = 10**6
"""Batches of an epoch that is ended from outside."""


class Feed:
    """Ready batches, one after the other: dicts of ``image`` uint8 (batch, 3, height, width), ``label``, ``index``.

    The index runs on from batch to batch, so that augmentation drawn from it is new for an image seen again, unless
    ``repeats``.

    Args:
        images: to deal out.
        batch_size: images a batch.
        length: batches.
        labelled: with ``label``; without, it is -1 as in prediction.
        repeats: whether an image seen again has its index again.
        pinned: in memory that a GPU reads by itself, as that of a loader for one is.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        length: int = ENDLESS,
        labelled: bool = True,
        repeats: bool = False,
        pinned: bool = False,
    ) -> None:
        self.batch_size, self.length, self.labelled, self.repeats = batch_size, length, labelled, repeats
        count = max(1, len(images.labels) // batch_size)
        self._batches = [images.batch(number, batch_size) for number in range(min(count, length))]
        self._pixels = [torch.from_numpy(pixels).movedim(-1, 1).contiguous() for pixels, _ in self._batches]
        self._pixels = [pixels.pin_memory() for pixels in self._pixels] if pinned else self._pixels

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for number in range(self.length):
            yield self.batch(number)

    def batch(self, number: int) -> dict[str, Tensor]:
        """The ``number``-th batch of the epoch."""
        place = number % len(self._pixels)
        pixels, label = self._pixels[place], torch.from_numpy(self._batches[place][1])
        index = torch.arange(len(label)) + (place if self.repeats else number) * self.batch_size
        return {"image": pixels, "label": label if self.labelled else torch.full_like(label, -1), "index": index}
