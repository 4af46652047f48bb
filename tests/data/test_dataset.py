from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from lightning_tl.data.dataset import FileReader, ImageDataset
from lightning_tl.data.decode import decode_image, resize_image


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
