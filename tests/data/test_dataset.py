import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_tl.data.dataset import PADDING, FileReader, Held, ImageDataset
from lightning_tl.data.decode import decode_image, resize_image
from lightning_tl.errors import InputError


def test_items_and_batches(image_folder: Callable[..., Path]) -> None:
    root = image_folder({"a": 2, "b": 1})
    paths = ["a/000.jpg", "a/001.png", "b/000.jpg"]
    dataset = ImageDataset(paths, [0, 0, 1], [4, 6, 9], FileReader(root), (8, 10), "crop")
    batch = next(iter(DataLoader(dataset, batch_size=3)))
    assert batch["label"].tolist() == [0, 0, 1]
    assert batch["index"].tolist() == [4, 6, 9]
    assert batch["label"].dtype == batch["index"].dtype == torch.int64
    expected = torch.stack([resize_image(decode_image(root / path), (8, 10), "crop") for path in paths])
    assert batch["image"].dtype == torch.uint8
    assert torch.equal(batch["image"], expected)


def test_padding_is_an_image_that_does_not_count(image_folder: Callable[..., Path]) -> None:
    """Where it comes from shows in nothing but its pixels and label, so that every rank has a batch of one shape."""
    root = image_folder({"a": 2, "b": 1})
    dataset = ImageDataset(["a/000.jpg", "a/001.png", "b/000.jpg"], [0, 0, 1], [4, 6, 9], FileReader(root), (8, 10))
    for position, index in enumerate((4, 6, 9)):
        item, padding = dataset[position], dataset[~position]
        assert (item["index"], padding["index"]) == (index, PADDING)
        assert padding["label"] == item["label"]
        assert torch.equal(padding["image"], item["image"])


def test_each_process_puts_kept_pixels_on_the_device_itself() -> None:
    held = Held(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.device("meta"))
    assert held.tensor.device.type == "meta"
    assert held.tensor is held.tensor
    sent = pickle.loads(pickle.dumps(held))
    assert sent._there is None
    assert sent.tensor.shape == (2, 3, 4, 4)


def test_a_device_without_room_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    held = Held(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.device("meta"))
    monkeypatch.setattr("torch.Tensor.to", full)
    with pytest.raises(InputError, match=r"data.cache: 0.0 GiB of pixels do not fit on meta. Received: device"):
        _ = held.tensor
