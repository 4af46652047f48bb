"""Decoded images that are kept: the same batches as without, whoever writes them and whatever happens meanwhile."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ImageFolderFactory
from kept_images import COUNTS, batches, files, module
from torch.utils.data import DataLoader, Subset

from lightning_tl.caches import FOLDER_VARIABLE
from lightning_tl.data import ImageFolderDataModule
from lightning_tl.data.dataset import Held, KeptImages
from lightning_tl.errors import InputError


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


def test_images_that_are_resized_otherwise_have_a_file_of_their_own(image_folder: ImageFolderFactory) -> None:
    root = image_folder(COUNTS, size=(12, 21))
    ways: list[dict[str, Any]] = [{}, {"resize": "crop"}, {"resize": "pad"}, {"antialias": True}]
    for number, way in enumerate(ways, start=1):
        kept, plain = (batches(module(root, cache, image_size=8, **way)) for cache in ("disk", "none"))
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(kept, plain, strict=True)), way
        assert len(files(root)) == number


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
