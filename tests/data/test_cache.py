"""Decoded images that are kept: the same batches as without, whoever writes them and whatever happens meanwhile.

And in a folder that others use too nothing of theirs is lost.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ImageFolderFactory
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from lightning_tl.caches import FOLDER_VARIABLE
from lightning_tl.data import ImageFolderDataModule
from lightning_tl.data.cache import ImageSettings, Pixels
from lightning_tl.data.cache_file import keep_on_disk
from lightning_tl.data.dataset import Held, KeptImages
from lightning_tl.data.decode import why_undecodable
from lightning_tl.errors import InputError

COUNTS = {"ants": 7, "bees": 6}
SETTINGS = ImageSettings((16, 16), "stretch", False)
BIG = 10**9
BIG_FILE = 13 * 3 * 16 * 16 + 128
"""Bytes of the kept images of ``COUNTS``, with numpy's header."""


def module(root: Path, cache: str, **options: Any) -> ImageFolderDataModule:
    options = {
        "image_size": 16,
        "batch_size": 4,
        "num_workers": 0,
        "cache_folder": str(root.parent / "kept"),
        **options,
    }
    data = ImageFolderDataModule(str(root), cache=cache, **options)  # type: ignore[arg-type]
    data.setup("fit")
    return data


def batches(data: ImageFolderDataModule) -> list[dict[str, Tensor]]:
    return [*data.train_dataloader(), *data.val_dataloader(), *data.test_dataloader()]  # type: ignore[list-item]


def files(root: Path) -> list[Path]:
    return sorted((root.parent / "kept").glob("*.npy"))


def keep(root: Path, limit: int = BIG, paths: list[str] | None = None) -> Pixels | None:
    paths = paths or sorted(str(path.relative_to(root)) for path in root.glob("*/*"))
    return keep_on_disk(paths, root, SETTINGS, root.parent / "kept", limit)


@pytest.mark.parametrize("cache", ["disk", "ram", "device"])
@pytest.mark.parametrize("options", [{}, {"resize": "pad", "antialias": True}])
def test_batches_are_those_of_the_plain_path(
    image_folder: ImageFolderFactory, cache: str, options: dict[str, Any]
) -> None:
    root = image_folder(COUNTS)
    plain, kept = batches(module(root, "none", **options)), batches(module(root, cache, **options))
    assert len(plain) == len(kept)
    for ours, theirs in zip(kept, plain, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)
    assert len(files(root)) == (cache == "disk")


def test_a_second_run_decodes_nothing(image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    root = image_folder(COUNTS)
    first = batches(module(root, "disk"))
    monkeypatch.setattr("lightning_tl.data.check.why_undecodable", None)  # whoever decodes now fails
    second = batches(module(root, "disk"))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, second, strict=True))
    with pytest.raises(TypeError):
        module(root, "disk", image_size=20)


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_loaders_of_others_take_the_images_too(image_folder: ImageFolderFactory, cache: str) -> None:
    """The data set of a loader is an ordinary one, whatever ours do with it."""
    loader = module(image_folder(COUNTS), cache).val_dataloader()
    (own,) = loader
    dataset = loader.dataset  # type: ignore[attr-defined]
    for other in (dataset, Subset(dataset, range(len(dataset)))):
        (batch,) = DataLoader(other, batch_size=len(dataset))
        assert all(torch.equal(batch[key], own[key]) and batch[key].dtype == own[key].dtype for key in own)
        with pytest.raises(IndexError):
            dataset[len(dataset)]
    taken = KeptImages(Held(own["image"], torch.device("cpu")), [0] * 4, range(4), range(4)).__getitems__([3, 1, 2])
    assert [item["label"] for item in taken[1:]] == [1, 2]


def test_other_contents_and_settings_have_other_files(image_folder: ImageFolderFactory) -> None:
    root = image_folder(COUNTS)
    module(root, "disk")
    module(root, "disk", image_size=20)
    assert len(files(root)) == 2
    one, other = root / "ants" / "000.jpg", root / "ants" / "002.jpg"
    one.write_bytes(other.read_bytes())
    changed = module(root, "disk")
    assert len(files(root)) == 3
    plain = module(root, "none")
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(batches(changed), batches(plain), strict=True))
    os.utime(one)
    module(root, "disk")
    assert len(files(root)) == 3, "the contents count, not the time"


def test_bad_images_are_known_the_second_time_too(image_folder: ImageFolderFactory) -> None:
    root = image_folder(COUNTS)
    (root / "ants" / "broken.jpg").write_text("no image")
    for _ in range(2):
        with pytest.raises(InputError, match=r"1 of 14 images cannot be decoded[^']*'ants/broken.jpg'"):
            _ = module(root, "disk").samples
    data = module(root, "disk", on_bad_image="skip")
    assert [image.path for image in data.bad_images] == ["ants/broken.jpg"]
    plain = module(root, "none", on_bad_image="skip")
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(batches(data), batches(plain), strict=True))


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


def test_other_versions_of_what_decodes_have_other_files(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image_folder(COUNTS)
    keep(root)
    monkeypatch.setattr("lightning_tl.data.cache_file.DECODED_BY", ("0.0", "0.0"))
    keep(root)
    assert len(files(root)) == 2


def test_a_disk_without_room_is_found_before_the_map_is_written_to(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota shows nowhere else, and would end the process with SIGBUS."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.warns(UserWarning, match="cannot be written .*No space left on device"):
        assert keep(image_folder(COUNTS)) is None


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


def test_several_processes_write_one_file(image_folder: ImageFolderFactory) -> None:
    root = image_folder({"ants": 40, "bees": 40})
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from lightning_tl import ImageFolderDataModule\n"
        "data = ImageFolderDataModule(sys.argv[1], image_size=64, num_workers=0)\n"
        "print(sum(int(b['image'].long().sum()) for b in data.val_dataloader()))\n"
    )
    environment = {**os.environ, FOLDER_VARIABLE: str(root.parent / "kept"), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(root), *sys.path], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    sums = {process.communicate(timeout=300)[0].split()[-1] for process in started}
    assert all(process.returncode == 0 for process in started)
    plain = ImageFolderDataModule(str(root), image_size=64, num_workers=0, cache="none")
    assert sums == {str(sum(int(batch["image"].long().sum()) for batch in plain.val_dataloader()))}  # type: ignore[attr-defined]
    assert len(files(root)) == 1


def test_old_files_make_room(image_folder: ImageFolderFactory) -> None:
    root = image_folder(COUNTS)
    every = sorted(str(path.relative_to(root)) for path in root.glob("*/*"))
    size = 4 * 3 * 16 * 16
    for first in range(3):
        assert keep(root, limit=2 * size + 500, paths=every[first : first + 4]) is not None
        newest = max(files(root), key=lambda file: file.stat().st_mtime_ns)
        os.utime(newest, (1000 + first, 1000 + first))
    assert len(files(root)) <= 2
    assert newest in files(root)


def test_too_many_images_are_decoded_in_every_epoch(image_folder: ImageFolderFactory) -> None:
    root = image_folder(COUNTS)
    with pytest.warns(UserWarning, match=r"data.cache: .* more than data.cache_gb.*Raise cache_gb"):
        data = module(root, "disk", cache_gb=1e-6)
    plain = module(root, "none")
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(batches(data), batches(plain), strict=True))
    assert not files(root)


def test_a_folder_that_cannot_be_written_costs_speed_alone(image_folder: ImageFolderFactory) -> None:
    root = image_folder(COUNTS)
    with pytest.warns(UserWarning, match=r"data.cache: /proc/kept cannot be written"):
        data = module(root, "disk", cache_folder="/proc/kept")
    assert len(batches(data)) == len(batches(module(root, "none")))


def test_a_user_without_a_home_trains_without_what_is_kept(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image_folder(COUNTS)
    monkeypatch.setattr("lightning_tl.data.images.default_folder", lambda: None)
    with pytest.warns(UserWarning, match=r"data.cache: this user has no home folder.*Give data.cache_folder, or set"):
        data = module(root, "disk", cache_folder=None)
    assert len(batches(data)) == len(batches(module(root, "none")))


@pytest.mark.parametrize("cache", ["ram", "device"])
def test_a_torchvision_data_set_can_be_kept_too(cache: str) -> None:
    options: dict[str, Any] = {
        "dataset": "torchvision.datasets.FakeData",
        "dataset_args": {"size": 12, "image_size": [3, 20, 24], "num_classes": 3},
        "image_size": 16,
        "batch_size": 4,
        "num_workers": 0,
    }
    kept, plain = (ImageFolderDataModule(cache=mode, **options) for mode in (cache, "disk"))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(batches(kept), batches(plain), strict=True))


@pytest.mark.parametrize(("options", "message"), [({"cache": "disc"}, "cache must be"), ({"cache_gb": 0}, "cache_gb")])
def test_bad_arguments(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageFolderDataModule(str(tmp_path), **options)
