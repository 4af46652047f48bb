"""A data module whose images are kept beside them, for tests of that."""

from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_tl.data import ImageFolderDataModule

COUNTS = {"ants": 7, "bees": 6}
SIZE = 16


def module(root: Path, cache: str, **options: Any) -> ImageFolderDataModule:
    options = {
        "image_size": SIZE,
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
    """That hold the kept images of ``root``."""
    return sorted((root.parent / "kept").glob("*.npy"))
