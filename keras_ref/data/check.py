"""Decoding every image once before training, so that a broken one shows at the start and not in epoch 3."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from keras_ref.data.decode import why_undecodable
from keras_ref.data.folder import listed
from keras_ref.errors import InputError

BadImagePolicy = Literal["error", "skip"]
BAD_IMAGE_POLICIES: tuple[BadImagePolicy, ...] = ("error", "skip")

_log = logging.getLogger(__name__)


class BadImage(NamedTuple):
    """An image file that cannot be decoded, as it was listed, and why."""

    path: str
    reason: str


def find_bad_images(paths: Sequence[str], root: str | Path = "") -> tuple[BadImage, ...]:
    """Decode every file, in as many threads as there are CPUs, and keep none of the pixels.

    A GIF counts as an image like any other; since one among photographs is often a placeholder, GIFs are
    logged.

    Args:
        paths: relative to root, or absolute.
        root: folder of the paths.

    Returns:
        The files that failed, in the order of ``paths``.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        reasons = list(pool.map(why_undecodable, (Path(root, path) for path in paths)))
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
    _log.warning("%s and are left out:%s", message, lines)


def _tell_gifs(paths: Sequence[str]) -> None:
    if gifs := [path for path in paths if path.lower().endswith(".gif")]:
        _log.info("GIF files among the images, of which the first frame is used: %s", listed(gifs))
