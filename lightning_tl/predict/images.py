"""Batches of decoded images, in the order of their paths, each once on any number of ranks."""

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_tl.data.cache import ImageSettings
from lightning_tl.data.dataset import PADDING, UNKNOWN_LABEL
from lightning_tl.data.decode import why_undecodable
from lightning_tl.data.loader import begin_worker
from lightning_tl.predict.inputs import PathStream
from lightning_tl.ranks import from_first_rank, rank_and_ranks
from lightning_tl.sigterm import Sigterm

MAX_BYTES = 2**31
"""Largest file that is read: twice what the largest image we decode takes without any compression."""

Place = tuple[int, str]
"""Position among all paths and the path; ``PADDING`` and nothing for an image that only fills up a batch."""


class PathItem(TypedDict):
    """One image; default collation makes it a batch: tensors with one dimension more, lists of the texts.

    Attributes:
        image: uint8 in [0, 255], shape (3, height, width); zeros where it could not be read.
        label: ``UNKNOWN_LABEL``.
        index: position among all paths; ``PADDING`` in padding.
        path: as it was given.
        reason: why it could not be read; empty if it was.
    """

    image: Tensor
    label: int
    index: int
    path: str
    reason: str


class PathImages(Dataset[PathItem]):
    """Reads an image by its place. One that cannot be read raises nothing: the batch around it stays as it is.

    Args:
        settings: size and resizing.
    """

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings

    def __getitem__(self, place: Place) -> PathItem:
        """The image there."""
        index, path = place
        found: list[Tensor] = []
        reason = "" if index == PADDING else self._read(path, found)
        image = found[0] if found else torch.zeros(self.settings.shape(1)[1:], dtype=torch.uint8)
        return {"image": image, "label": UNKNOWN_LABEL, "index": index, "path": path, "reason": reason}

    def _read(self, path: str, found: list[Tensor]) -> str:
        return why_no_file(path) or why_undecodable(path, lambda image: found.append(self.settings.apply(image))) or ""


def why_no_file(path: str) -> str | None:
    """Why a path is none of a file that can be read whole: pipes and devices may never end. None if it is one."""
    try:
        about = Path(path).stat()
        if stat.S_ISDIR(about.st_mode):
            os.scandir(path).close()
            return "it is a folder"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if path.endswith("\r") and os.path.lexists(path[:-1]):
            return "no such file: its line ends with a carriage return"
        return getattr(error, "strerror", None) or str(error)
    if not stat.S_ISREG(about.st_mode):
        return "it is no regular file"
    return None if about.st_size <= MAX_BYTES else f"it has {about.st_size} bytes, more than {MAX_BYTES}"


class Feed:
    """Deals out the places of a stream, batch by batch; a batch sampler for ``PathImages``.

    The first rank reads the stream and tells the others: standard input has one reader, and a folder that changes
    meanwhile cannot make the ranks disagree. Of the paths of a step each rank takes a contiguous part; when they do
    not divide, the last ranks get padding.

    SIGTERM ends it where the first rank waits for paths, which may be for ever: it tells the others to end too. One
    that another rank alone has got is heard of after the next batch, when all ranks ask (``EndPrediction``).

    Args:
        stream: of the paths; read by the first rank alone.
        batch_size: of one rank.
        sigterm: may end the waiting, once it listens.
        ended: what is said then.

    Raises:
        SIGTERMException: in iterating, on all ranks: the first was told to end.
    """

    def __init__(self, stream: PathStream, batch_size: int, sigterm: Sigterm, ended: str = "ended by SIGTERM") -> None:
        self.stream, self.batch_size, self.sigterm, self.ended = stream, batch_size, sigterm, ended

    def __iter__(self) -> Iterator[list[Place]]:
        rank, ranks = rank_and_ranks()
        while places := from_first_rank(self._next(ranks) if rank == 0 else None):
            share = -(-len(places) // ranks)
            part = places[rank * share : (rank + 1) * share]
            yield part + [(PADDING, "")] * (share - len(part))
        if places is None:
            raise SIGTERMException(self.ended)

    def _next(self, ranks: int) -> list[Place] | None:
        """The places of a step, none after the last path; None if the process was told to end."""
        first = self.stream.taken
        try:
            with self.sigterm.waiting():
                return list(enumerate(islice(self.stream, self.batch_size * ranks), start=first))
        except SIGTERMException:
            return None


class Batches:
    """The loader, hidden from Lightning, which would put a sampler of its own in the place of ours.

    Lightning fetches the first batches before it calls anybody who could listen for SIGTERM, so it is done here.

    Args:
        feed: of the places; its ``sigterm`` listens from the first batch on, until its owner restores it.
        settings: size and resizing.
        num_workers: processes that read images.
        pinned: whether batches lie in memory that a GPU reads by itself.
    """

    def __init__(self, feed: Feed, settings: ImageSettings, num_workers: int, pinned: bool = False) -> None:
        self.feed, self.settings, self.num_workers, self.pinned = feed, settings, num_workers, pinned

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.feed.sigterm.listen()
        yield from DataLoader(
            PathImages(self.settings),
            batch_sampler=self.feed,
            num_workers=self.num_workers,
            pin_memory=self.pinned,
            worker_init_fn=begin_worker,
        )
