"""A data module of tiny images, and the least that can be trained on it."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_tl.data import ImageFolderDataModule


class Mean(LightningModule):
    """The least that can be trained, and a record of the indices seen."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 3)
        self.seen: dict[str, list[list[int]]] = {"fit": [], "validate": [], "test": [], "predict": []}

    def loss(self, batch: dict[str, Tensor], stage: str) -> Tensor:
        self.seen[stage].append(batch["index"].tolist())
        logits = self.head(batch["image"].float().mean((2, 3)) / 255)
        return torch.nn.functional.cross_entropy(logits, batch["label"])

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        return self.loss(batch, "fit")

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        self.loss(batch, "validate")

    def test_step(self, batch: dict[str, Tensor]) -> None:
        self.loss(batch, "test")

    def predict_step(self, batch: dict[str, Tensor]) -> Tensor:
        self.seen["predict"].append(batch["index"].tolist())
        return batch["label"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def module(root: Path | str | None, **options: Any) -> ImageFolderDataModule:
    defaults = {"image_size": 8, "batch_size": 4, "num_workers": 0}
    return ImageFolderDataModule(root, **{**defaults, **options})  # type: ignore[arg-type]


def trainer(tmp_path: Path, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    defaults = {**quiet, "enable_checkpointing": False, "accelerator": "cpu", "max_epochs": 1}
    return Trainer(default_root_dir=tmp_path, **{**defaults, **options})


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]
