import inspect
from typing import Any

import pytest

from lightning_tl.data.module import ImageFolderDataModule
from lightning_tl.data.options import DIVISION
from lightning_tl.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "data.root is missing"),
        ({"root": ""}, r"data.root: a folder is needed; an unset shell variable gives none\. Received: ''\."),
        *(
            ({"image_size": size}, "data.image_size must be a positive integer or")
            for size in (0, [8], [8, -1], True, 1.5)
        ),
        ({"cache_gb": float("inf")}, "data.cache_gb must be a finite number of gigabytes above 0. Received: inf"),
        ({"batch_size": 0}, "data.batch_size must be an integer of at least 1. Received: 0"),
        ({"batch_size_is": "total"}, "data.batch_size_is must be one of per_device, global. Received: 'total'"),
        ({"num_workers": -1}, "data.num_workers must be an integer of at least 0. Received: -1"),
        ({"seed": -1}, r"data.seed: a non-negative integer below 2\*\*32 is needed. Received: -1"),
        (
            {"val_fraction": 0.0},
            r"data.val_fraction must be a number with 0 < val_fraction < 1. Received: 0.0",
        ),
        ({"val_fraction": 20}, "data.val_fraction must be"),
        ({"val_fraction": float("nan")}, "data.val_fraction must be"),
        ({"test_fraction": -0.1}, "data.test_fraction must be a number with 0 <= test_fraction < 1"),
        (
            {"val_fraction": 0.5, "test_fraction": 0.5},
            "must leave something to train on. Received: 0.5 and 0.5",
        ),
        (
            {"split": "random"},
            r"data.split must be stratified, keras, all \(which cannot train\) or the path of a .csv file.*'random'",
        ),
        ({"split": "keras", "test_fraction": 0.1}, "data.split keras knows train and val only"),
        ({"resize": "fit"}, "data.resize must be one of stretch, crop, pad. Received: 'fit'"),
        ({"on_bad_image": "ignore"}, "data.on_bad_image must be one of error, skip. Received: 'ignore'"),
        ({"dataset_args": {"size": 3}}, "data.dataset_args need data.dataset"),
        ({"dataset": "torchvision.datasets.FakeData", "split": "keras"}, "data.split keras divides folders"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageFolderDataModule(**{"root": "images", **arguments})


@pytest.mark.parametrize(("size", "expected"), [(96, (96, 96)), ([8, 12], (8, 12)), ((8, 12), (8, 12))])
def test_image_size(size: Any, expected: tuple[int, int]) -> None:
    assert ImageFolderDataModule("images", image_size=size).options.size == expected


def test_a_global_batch_is_divided_among_the_devices() -> None:
    options = ImageFolderDataModule("images", batch_size=12, batch_size_is="global").options
    assert [options.batch_size_on(devices) for devices in (1, 2, 3)] == [12, 6, 4]
    with pytest.raises(InputError, match="must divide by the 5 devices of the run. Received: 12; give a multiple of 5"):
        options.batch_size_on(5)
    assert ImageFolderDataModule("images", batch_size=12).options.batch_size_on(5) == 12


def test_what_divides_is_known_with_its_defaults() -> None:
    """By which it is seen that something else was given."""
    arguments = inspect.signature(ImageFolderDataModule).parameters
    assert {name: arguments[name].default for name in DIVISION} == DIVISION


def test_a_tilde_is_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    data = ImageFolderDataModule("~/images", split="~/split.csv", cache_folder="~/cache")
    options = data.options
    assert [options.root, options.split, options.cache_folder] == [
        "/home/me/images", "/home/me/split.csv", "/home/me/cache",
    ]  # fmt: skip
    assert data.hparams["root"] == "/home/me/images"
