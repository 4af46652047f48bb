"""Decoding every image once before training, so that a broken one shows at the start and not in epoch 3."""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import Tensor

from lightning_tl.data.decode import why_undecodable
from lightning_tl.data.folder import listed
from lightning_tl.errors import InputError

BadImagePolicy = Literal["error", "skip"]
BAD_IMAGE_POLICIES: tuple[BadImagePolicy, ...] = ("error", "skip")

_log = logging.getLogger(__name__)


class BadImage(NamedTuple):
    """An image file that cannot be decoded, as it was listed, and why."""

    path: str
    reason: str


class FindBad(Protocol):
    """``find_bad_images`` for paths of one root, or what does the same for a data set."""

    def __call__(
        self, paths: Sequence[str], *, use: Callable[[int, Tensor], None] | None = None
    ) -> tuple[BadImage, ...]:
        """Read all; those that failed."""


def find_bad_images(
    paths: Sequence[str], root: str | Path = "", use: Callable[[int, Tensor], None] | None = None
) -> tuple[BadImage, ...]:
    """Decode every file, in as many threads as there are CPUs.

    A GIF counts as an image like any other; since one among photographs is often a placeholder, GIFs are
    logged.

    Args:
        paths: relative to root, or absolute.
        root: folder of the paths.
        use: called by any thread with the position and the pixels, uint8 (3, height, width), of each file that
            decodes; without it none are kept.

    Returns:
        The files that failed, in the order of ``paths``.
    """

    def look(item: tuple[int, str]) -> str | None:
        position, path = item
        return why_undecodable(Path(root, path), None if use is None else partial(use, position))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        reasons = list(pool.map(look, enumerate(paths)))
    bad = tuple(BadImage(path, reason) for path, reason in zip(paths, reasons, strict=True) if reason is not None)
    _tell_gifs(sorted(set(paths) - {image.path for image in bad}))
    return bad


def apply_policy(bad: Sequence[BadImage], total: int, policy: BadImagePolicy) -> None:
    """Raise for bad images, or log which ones are left out.

    Args:
        bad: from ``find_bad_images``.
        total: number of files looked at.
        policy: error or skip.

    Raises:
        InputError: there are bad images and the policy is error, or all are bad.
    """
    if not bad:
        return
    lines = "".join(f"\n  {image.path!r}: {image.reason}" for image in bad)
    message = f"{len(bad)} of {total} images cannot be decoded"
    if policy == "error" or len(bad) == total:
        hint = ", or set data.on_bad_image to skip" if len(bad) < total else ""
        raise InputError(f"{message}. Replace or remove them{hint}:{lines}")
    rank_zero_only(_log.warning)("%s and are left out:%s", message, lines)


def _tell_gifs(paths: Sequence[str]) -> None:
    if gifs := [path for path in paths if path.lower().endswith(".gif")]:
        rank_zero_info("GIF files among the images, of which the first frame is used: %s", listed(gifs))
