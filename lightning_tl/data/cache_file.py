"""Decoded images in a memory-mapped file that later runs and other ranks find again."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_tl.data.cache import GIGABYTE, ImageSettings, Pixels, decode_into
from lightning_tl.data.check import BadImage, find_bad_images
from lightning_tl.data.decode import why_undecodable
from lightning_tl.files import replacing, write_text
from lightning_tl.locking import one_at_a_time

FORMAT = 2
"""Counts the changes of decoding, resizing and file format that make older files useless."""
DECODED_BY = (torchvision.__version__.split("+")[0], PIL.__version__)
"""Others may decode or resize to other pixels."""
ABANDONED = 24 * 3600.0
"""Seconds after which a half-written file is taken to be of a writer that was killed."""
OURS = re.compile(r"[0-9a-f]{40}\.npy|\.[0-9a-f]{40}\..*\.npy")
"""Names of such files, and of those that are being written; whatever else a folder holds is its owner's."""


def keep_on_disk(
    paths: Sequence[str], root: str | Path, settings: ImageSettings, folder: Path, limit: int
) -> Pixels | None:
    """Map the file that holds these images, after writing it if there is none.

    The file's name is a hash of the contents of all images and of ``settings``: whatever changes, another file is
    used. It is written under another name and then renamed, by one process while others wait, so that neither a
    killed writer nor a second rank harms it. Of such files, those unused for the longest time make room for new ones.

    Args:
        paths: of the images, relative to root.
        root: folder of the paths.
        settings: how they are resized.
        folder: of the files.
        limit: of all such files in ``folder`` together, in bytes.

    Returns:
        The images, or None, with a warning, where they would not fit or the folder cannot be written.
    """
    needed = int(np.prod(settings.shape(len(paths))))
    if needed > limit:
        rank_zero_warn(
            f"data.cache: {needed / GIGABYTE:.3g} GB of decoded images are more than data.cache_gb, "
            f"{limit / GIGABYTE:.3g}; they are decoded in every epoch. Raise cache_gb, or set data.cache to none."
        )
        return None
    file = folder / f"{_key(paths, root, settings)}.npy"
    try:
        found = _usable(file, paths, root, settings)  # without the lock, for which the folder must be writable
        if found is None:
            folder.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(file.with_suffix(".lock")):
                found = _usable(file, paths, root, settings)
                if found is None:
                    _make_room(folder, limit - needed, needed)
                    _write(file, paths, root, settings)
                    found = _open(file, paths, settings)
                    rank_zero_info("decoded images are kept in %s (%.1f GB)", file, needed / GIGABYTE)
        with contextlib.suppress(OSError):  # of another user's file
            os.utime(file)
    except OSError as error:
        rank_zero_warn(f"data.cache: {folder} cannot be written ({error}); images are decoded in every epoch.")
        return None
    return found


def _key(paths: Sequence[str], root: str | Path, settings: ImageSettings) -> str:
    """A hash of the settings and of what the files hold, in their order."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        contents = list(pool.map(_content, (Path(root, path) for path in paths)))
    whole = hashlib.sha256(repr((FORMAT, *DECODED_BY, settings)).encode())
    for content in contents:
        whole.update(content)
    return whole.hexdigest()[:40]


def _content(path: Path) -> bytes:
    """The hash of a file; of one that cannot be read, the reason, which is no file's hash."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        return str(error.strerror).encode()


def _open(file: Path, paths: Sequence[str], settings: ImageSettings) -> Pixels | None:
    """What ``_write`` wrote; None where there is nothing whole."""
    try:
        bad = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["bad"]
        images = np.load(file, mmap_mode="c", allow_pickle=False)  # copy on write: torch knows no read-only memory
        if images.shape != settings.shape(len(paths)) or images.dtype != np.uint8:
            return None
        return Pixels(torch.from_numpy(images), tuple(BadImage(paths[int(row)], why) for row, why in bad.items()))
    except (OSError, EOFError, ValueError, LookupError, AttributeError, TypeError):
        return None


def _usable(file: Path, paths: Sequence[str], root: str | Path, settings: ImageSettings) -> Pixels | None:
    """As ``_open``; None too where images decode now that did not: a lack of memory, a network drive."""
    found = _open(file, paths, settings)
    if found is None or any(why_undecodable(Path(root, image.path)) is None for image in found.bad):
        return None
    return found


def _write(file: Path, paths: Sequence[str], root: str | Path, settings: ImageSettings) -> None:
    """The images, then what is known of them: without that, the file counts for nothing."""
    file.with_suffix(".json").unlink(missing_ok=True)
    for left in file.parent.glob(f".{file.stem[:40]}.*"):  # by a writer that was killed; we hold the lock
        left.unlink(missing_ok=True)
    with replacing(file) as temporary:
        mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=settings.shape(len(paths)))
        _allocate(temporary)
        bad = decode_into(torch.from_numpy(mapped), paths, settings, partial(find_bad_images, root=root))
        mapped.flush()
        del mapped
    row_of = {path: row for row, path in enumerate(paths)}
    write_text(file.with_suffix(".json"), json.dumps({"bad": {row_of[image.path]: image.reason for image in bad}}))


def _allocate(path: Path) -> None:
    """Take the disk's blocks now: a disk or quota that is full later ends the process as it writes to the map."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _make_room(folder: Path, rest: int, needed: int) -> None:
    """Remove files until the others take ``rest`` bytes and the disk has ``needed``.

    Raises:
        OSError: the disk has less; where it would have less without all of them, they stay.
    """
    with one_at_a_time(folder / ".lock"):
        files = sorted(_removable(folder), key=lambda file: file[1].st_mtime)
        taken, free = sum(status.st_size for _, status in files), shutil.disk_usage(folder).free
        if free + taken > needed:
            for file, status in files:
                if taken <= rest and free > needed:
                    break
                file.with_suffix(".json").unlink(missing_ok=True)
                file.unlink(missing_ok=True)
                taken, free = taken - status.st_size, shutil.disk_usage(folder).free
    if free <= needed:
        raise OSError(f"{free / GIGABYTE:.1f} GB free of {needed / GIGABYTE:.1f} needed")


def _removable(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Files of ours that nobody is writing, with what the system knows of them."""
    for file in folder.glob("*.npy"):
        with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
            status = file.stat()
            written_now = file.name.startswith(".") and time.time() - status.st_mtime < ABANDONED
            if OURS.fullmatch(file.name) and not written_now:
                yield file, status
