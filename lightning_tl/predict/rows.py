"""Rows of predictions, and what is common to all formats that they are written in."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = ".9g"
"""What a float32 needs to come back the same (IEEE 754: 9 decimal digits)."""


@dataclass(frozen=True)
class Rows:
    """Images that were read, in the order of their paths.

    Attributes:
        paths: as they were given, one an image.
        probabilities: float32 (images, classes).
    """

    paths: Sequence[str]
    probabilities: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class, the first of equals, (images,)."""
        predicted: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return predicted

    def ranked(self, count: int) -> NDArray[np.int64]:
        """The ``count`` most probable classes, the first of equals first, (images, count)."""
        order: NDArray[np.int64] = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :count]
        return order


class Format(ABC):
    """How rows are written: into chunk files, which are joined in the end.

    Args:
        classes: in label order.
        top_k: how many classes a row names with their probabilities; 0: all, in label order.
    """

    def __init__(self, classes: Sequence[str], top_k: int) -> None:
        self.classes, self.top_k = tuple(classes), top_k

    @abstractmethod
    def add(self, file: Any, rows: Rows) -> None:
        """Write rows to a chunk that is open for writing bytes, or keep them for ``end``."""

    def end(self, file: Any) -> None:  # noqa: B027  # most formats have nothing left to write
        """Write what was kept for the end of the chunk."""

    @abstractmethod
    def join(self, chunks: Iterable[Path], target: Path) -> None:
        """Write whole chunks, in their order, into one file."""
