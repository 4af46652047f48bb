import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.utils import verify_str_arg

from lightning_tl.data.torchvision_source import all_labels, class_names, open_parts, samples_of, to_rgb
from lightning_tl.errors import InputError

HERE = __name__


class ByTrain:
    """As CIFAR10 has it; ``split`` means something else, as in EMNIST."""

    classes = ("cat", "dog")

    def __init__(self, root: str, split: str = "letters", train: bool = True, download: bool = False) -> None:
        self.root, self.split, self.targets = root, split, [0, 1, 1] if train else [1]

    def __len__(self) -> int:
        return len(self.targets)


class BySplit:
    """As Flowers102 has it, with the names of parts as given by a subclass."""

    names: tuple[str, ...] = ("train", "val", "test")

    def __init__(self, root: str, split: str = "train") -> None:
        self.name = verify_str_arg(split, "split", self.names)


class Pets(BySplit):
    names = ("trainval", "test")


class Countries(BySplit):
    names = ("train", "valid", "test")


class Letters(BySplit):
    """As EMNIST has it: none of its parts is called train."""

    names = ("balanced", "letters")


class Offline:
    """Files are not there, and cannot be had."""

    def __init__(self, root: str, download: bool = False) -> None:
        if not download:
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        raise URLError("no route to host")


def test_a_data_set_without_a_part_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Letters knows no split called train or trainval.*dataset_args: \{split"):
        open_parts(f"{HERE}.Letters", {}, str(tmp_path))
    assert list(open_parts(f"{HERE}.Letters", {"split": "letters"}, str(tmp_path))) == ["train"]


def test_parts_by_train(tmp_path: Path) -> None:
    parts = open_parts(f"{HERE}.ByTrain", {"split": "digits"}, str(tmp_path))
    assert {name: len(data) for name, data in parts.items()} == {"train": 3, "test": 1}
    assert parts["train"].root == str(tmp_path)
    assert parts["test"].split == "digits"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BySplit", {"train": "train", "val": "val", "test": "test"}),
        ("Pets", {"train": "trainval", "test": "test"}),
        ("Countries", {"train": "train", "val": "valid", "test": "test"}),
    ],
)
def test_parts_by_split(name: str, expected: dict[str, str]) -> None:
    parts = open_parts(f"{HERE}.{name}", {}, "root")
    assert {split: data.name for split, data in parts.items()} == expected


def test_a_part_named_by_the_user_is_the_only_one() -> None:
    assert open_parts(f"{HERE}.BySplit", {"split": "test"}, "root").keys() == {"train"}


def test_no_parts_and_no_root() -> None:
    parts = open_parts("torchvision.datasets.FakeData", {"size": 5, "image_size": [3, 8, 8]}, None)
    assert {name: len(data) for name, data in parts.items()} == {"train": 5}


@pytest.mark.parametrize(
    ("class_path", "arguments", "root", "message"),
    [
        (
            "torchvision.datasets.Flowers103",
            {},
            "r",
            r"data.dataset must be the class path .* 'torchvision.datasets.F",
        ),
        ("Flowers102", {}, "r", "data.dataset must be the class path"),
        ("nowhere.Data", {}, "r", "No module named 'nowhere'"),
        ("torchvision.datasets.FakeData", {"sizes": 5}, None, r"FakeData does not accept \{'sizes': 5\}"),
        ("torchvision.datasets.Flowers102", {}, None, "data.root is missing"),
        (f"{HERE}.Offline", {}, "r", "Offline could not be downloaded to 'r': .*no route to host.*by hand"),
        (f"{HERE}.Offline", {"download": False}, "r", "Offline cannot be read: Dataset not found"),
    ],
)
def test_bad_input(class_path: str, arguments: dict[str, Any], root: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_parts(class_path, arguments, root)


def test_labels_are_read_where_no_list_of_them_is() -> None:
    data = open_parts("torchvision.datasets.FakeData", {"size": 6, "image_size": [3, 8, 8]}, None)["train"]
    assert all_labels(data) == [data[n][1] for n in range(6)]
    assert all_labels(ByTrain("root")) == [0, 1, 1]


def test_class_names() -> None:
    labels = {"train": [0, 2], "test": [1]}
    assert class_names(None, labels) == ("0", "1", "2")
    assert class_names(["a", "b", "c"], labels) == ("a", "b", "c")
    assert class_names([("crane", "bird"), "crane", "crane"], labels) == (
        "crane, bird",
        "crane (1)",
        "crane (2)",
    )
    assert class_names(["too", "few"], labels) == ("0", "1", "2")


def test_to_rgb() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    expected = torch.from_numpy(pixels).permute(2, 0, 1)
    assert torch.equal(to_rgb(Image.fromarray(pixels)), expected)
    assert torch.equal(to_rgb(expected), expected)
    assert torch.equal(to_rgb(expected / 255), expected)
    assert torch.equal(to_rgb(expected[:1]), expected[:1].expand(3, 4, 5))
    assert torch.equal(to_rgb(expected[0]), expected[:1].expand(3, 4, 5))


def test_tensors_of_fractions_become_the_nearest_integers() -> None:
    image = torch.tensor([0.4, 0.6, 127.4, 127.6, 254.4, 254.6]).reshape(1, 2, 3) / 255
    assert to_rgb(image)[0].flatten().tolist() == [0, 1, 127, 128, 254, 255]


@pytest.mark.parametrize("item", [torch.zeros(4, 5, 6), "text", io.BytesIO()])
def test_items_that_are_no_image(item: object) -> None:
    with pytest.raises(InputError, match=f"data.dataset must give .*Received: {type(item).__name__}"):
        to_rgb(item)


def test_images_without_a_class_are_refused() -> None:
    """As in the unlabeled part of STL10."""
    with pytest.raises(InputError, match="1 of the 3 images of train have no class: labels below 0"):
        samples_of({"train": [0, 1, -1]}, ("cat", "dog"))


def test_images_are_upright_and_of_16_bits_the_upper_8_are_kept_as_in_files() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    stream = io.BytesIO()
    Image.new("RGB", (30, 20)).save(stream, "JPEG", exif=exif)
    held = Image.open(stream).convert("RGB")  # as torchvision's ImageFolder does, which turns nothing
    assert to_rgb(held).shape == (3, 30, 20)
    assert held.size == (30, 20)  # the data set's own stays
    assert to_rgb(Image.fromarray(np.array([[256, 65535]], np.uint16)))[0].tolist() == [[1, 255]]


class Downloads:
    """Takes its time, and notes whether another one is at it."""

    at_once = 0
    most = 0

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        cls, folder = type(self), Path(root, "files")
        cls.at_once += 1
        cls.most = max(cls.most, cls.at_once)
        time.sleep(0.05)
        cls.at_once -= 1
        if not folder.exists():
            if not download:
                raise RuntimeError("Dataset not found.")
            folder.mkdir()


def test_one_process_downloads_and_others_wait(tmp_path: Path) -> None:
    """Threads stand for the ranks of a run: each has a lock of its own, as processes have."""
    if os.name != "posix":
        pytest.skip("no such locks on Windows")
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(lambda _: open_parts(f"{HERE}.Downloads", {}, str(tmp_path)), range(4)))
    assert [sorted(found) for found in parts] == [["test", "train"]] * 4
    assert Downloads.most == 1
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
