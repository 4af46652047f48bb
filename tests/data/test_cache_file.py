"""The files of kept images: one for each set of them, whole or not at all, in a folder that others use too."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ImageFolderFactory
from kept_images import COUNTS, SIZE, files
from PIL import Image

from lightning_tl.data.cache import ImageSettings, Pixels
from lightning_tl.data.cache_file import keep_on_disk
from lightning_tl.data.decode import why_undecodable

SETTINGS = ImageSettings((SIZE, SIZE), "stretch", False)
BIG = 10**9
BIG_FILE = sum(COUNTS.values()) * 3 * SIZE * SIZE + 128
"""Bytes of the kept images of ``COUNTS``, with numpy's header."""


def keep(root: Path, limit: int = BIG, paths: list[str] | None = None) -> Pixels | None:
    return keep_on_disk(paths or paths_of(root), root, SETTINGS, root.parent / "kept", limit)


def paths_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.glob("*/*"))


def test_what_kept_an_image_from_being_decoded_may_pass(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a lack of memory: the file is as it was, and so is its hash."""
    root = image_folder(COUNTS)

    def short_of_memory(path: Path, use: Any = None) -> str | None:
        return "there is not enough memory" if path.stem == "003" else why_undecodable(path, use)

    with monkeypatch.context() as patch:
        patch.setattr("lightning_tl.data.check.why_undecodable", short_of_memory)
        first = keep(root)
    assert first is not None
    assert [Path(image.path).stem for image in first.bad] == ["003", "003"]
    second = keep(root)
    assert second is not None
    assert second.bad == ()
    assert second.images.flatten(1).any(dim=1).all()


def test_other_versions_of_what_decodes_have_other_files(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image_folder(COUNTS)
    keep(root)
    monkeypatch.setattr("lightning_tl.data.cache_file.DECODED_BY", ("0.0", "0.0"))
    keep(root)
    assert len(files(root)) == 2


def test_all_of_a_file_decides_whether_it_is_the_same(image_folder: ImageFolderFactory) -> None:
    """One that differs in its last third alone has another entry."""
    root = image_folder(COUNTS)
    (one, *_) = root.glob("*/*")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(one, format="bmp")
    first = keep(root)
    pixels[:100] = 255 - pixels[:100]  # the last third of the file, which begins with the lowest row
    Image.fromarray(pixels).save(one, format="bmp")
    second = keep(root)
    assert first is not None
    assert second is not None
    assert not torch.equal(first.images, second.images)
    assert len(files(root)) == 2


def test_the_same_images_in_another_order_have_a_file_of_their_own(image_folder: ImageFolderFactory) -> None:
    """As another split file, or another name of a file, brings them: row by row the pixels are those of the paths."""
    root = image_folder(COUNTS)
    paths = paths_of(root)
    first, other = keep(root, paths=paths), keep(root, paths=paths[::-1])
    assert first is not None
    assert other is not None
    assert torch.equal(first.images, other.images.flip(0))
    assert len(files(root)) == 2


@pytest.mark.parametrize("damage", ["no json", "half json", "half file", "no file", "other file"])
def test_what_a_killed_writer_left_is_written_anew(image_folder: ImageFolderFactory, damage: str) -> None:
    root = image_folder(COUNTS)
    whole = keep(root)
    assert whole is not None
    wanted = whole.images.clone()
    (file,) = files(root)
    note = file.with_suffix(".json")
    if damage == "no json":
        note.unlink()
    elif damage == "half json":
        note.write_text('{"bad": {')
    elif damage == "no file":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-100] if damage == "half file" else b"something else")
    left = file.with_name(f".{file.stem}.left.npy")
    left.write_bytes(b"half")
    again = keep(root)
    assert again is not None
    assert torch.equal(again.images, wanted)
    assert not left.exists()


def test_what_another_process_is_writing_is_left_alone(image_folder: ImageFolderFactory) -> None:
    root = image_folder(COUNTS)
    folder = root.parent / "kept"
    folder.mkdir()
    writing, abandoned = folder / f".{'0' * 40}.1.npy", folder / f".{'0' * 40}.2.npy"
    for file in (writing, abandoned):
        file.write_bytes(b"x" * BIG_FILE)
    os.utime(abandoned, (0, 0))
    assert keep(root, limit=BIG_FILE) is not None
    assert (writing.exists(), abandoned.exists()) == (True, False)


def test_a_folder_that_can_only_be_read_is_read(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a cluster's, in which another user's run has kept them."""
    root = image_folder(COUNTS)
    first = keep(root)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # root, who may run this, is refused nowhere

    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(Path, "mkdir", refused)
    monkeypatch.setattr(os, "open", refused)
    second = keep(root)
    assert first is not None
    assert second is not None
    assert torch.equal(first.images, second.images)


def test_locks_of_another_user_keep_nobody_out(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that several may write to."""
    root = image_folder(COUNTS)
    opened, refused = os.open, []

    def of_another_user(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith(".lock") and flags & os.O_RDWR:
            refused.append(path)
            os.close(opened(path, flags, 0o644))  # which is theirs
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", of_another_user)
    assert keep(root) is not None
    assert len(files(root)) == 1
    assert len(refused) == 2


def test_a_disk_without_room_is_found_before_the_map_is_written_to(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota shows nowhere else, and would end the process with SIGBUS."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.warns(UserWarning, match="cannot be written .*No space left on device"):
        assert keep(image_folder(COUNTS)) is None


def test_old_files_make_room(image_folder: ImageFolderFactory) -> None:
    root = image_folder(COUNTS)
    every = paths_of(root)
    size = 4 * 3 * 16 * 16
    for first in range(3):
        assert keep(root, limit=2 * size + 500, paths=every[first : first + 4]) is not None
        newest = max(files(root), key=lambda file: file.stat().st_mtime_ns)
        os.utime(newest, (1000 + first, 1000 + first))
    assert len(files(root)) <= 2
    assert newest in files(root)


def test_what_has_not_been_used_for_longest_goes_first(image_folder: ImageFolderFactory) -> None:
    """To read a file is to use it."""
    root = image_folder(COUNTS)
    every, made = paths_of(root), list[Path]()
    for first in range(3):
        assert keep(root, paths=every[first : first + 4]) is not None
        made += [file for file in files(root) if file not in made]
        os.utime(made[-1], (1000 + first, 1000 + first))
    assert keep(root, paths=every[:4]) is not None
    room_for_three = 3 * made[0].stat().st_size + 500
    assert keep(root, limit=room_for_three, paths=every[3:7]) is not None
    assert [file.exists() for file in made] == [True, False, True]


def test_files_that_are_not_ours_make_no_room(image_folder: ImageFolderFactory) -> None:
    """A folder for many things may have been given."""
    root = image_folder(COUNTS)
    folder = root.parent / "kept"
    folder.mkdir()
    names = ("embeddings.npy", "embeddings.json", "embeddings.lock", ".embeddings.1.npy", f"{'0' * 40}.1.npy")
    for name in names:
        (folder / name).write_bytes(b"x" * BIG_FILE)
        os.utime(folder / name, (0, 0))
    assert keep(root, limit=BIG_FILE) is not None
    assert all((folder / name).stat().st_size == BIG_FILE for name in names)


def test_where_all_of_them_would_not_be_room_enough_none_goes(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image_folder(COUNTS)
    folder = root.parent / "kept"
    folder.mkdir()
    old = folder / f"{'0' * 40}.npy"
    old.write_bytes(b"x" * 10)
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1))
    with pytest.warns(UserWarning, match=r"cannot be written \(0\.0 GB free of 0\.0 needed\)"):
        assert keep(root) is None
    assert old.exists()


def test_an_empty_file_is_written_anew(image_folder: ImageFolderFactory) -> None:
    """As a machine leaves it that has lost its power."""
    root = image_folder(COUNTS)
    first = keep(root)
    assert first is not None
    pixels = first.images.clone()
    (file,) = files(root)
    file.write_bytes(b"")
    again = keep(root)
    assert again is not None
    assert torch.equal(again.images, pixels)
