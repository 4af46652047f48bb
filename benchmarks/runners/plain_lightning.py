"""What one would write with Lightning alone: ``BackboneFinetuning``, torchvision's transforms in the loader."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import BackboneFinetuning
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.device import torch_device
from benchmarks.meter import Meter
from benchmarks.resident import load_images
from benchmarks.runners.base import Base
from benchmarks.runners.lightning_parts import Goal, Steps, make_trainer
from benchmarks.runners.network import FROZEN, mobilenet_v2
from benchmarks.settings import DROPOUT, Settings
from lightning_tl.head import linear_head

NEVER = 10**9
ENDLESS = 10**6


class Classifier(lightning.LightningModule):
    """MobileNetV2 whose last blocks are ``backbone``, the attribute that ``BackboneFinetuning`` freezes."""

    def __init__(self, job: dict[str, Any], lr: float) -> None:
        super().__init__()
        blocks, features = mobilenet_v2(job)
        self.stem, self.backbone = blocks[:FROZEN].requires_grad_(False), blocks[FROZEN:]
        self.dropout = nn.Dropout(DROPOUT)
        self.head = linear_head(features, len(job["classes"]), job["settings"]["seed"])
        self.accuracy = MulticlassAccuracy(len(job["classes"]), average="micro")
        self.lr = lr

    def forward(self, images: Tensor) -> Tensor:
        """Logits of scaled images."""
        features = self.backbone(self.stem(images)).mean(dim=(2, 3))
        return self.head(self.dropout(features))  # type: ignore[no-any-return]

    def on_train_epoch_start(self) -> None:
        """BatchNorm in inference mode, as the recipe asks."""
        self.stem.eval()
        self.backbone.eval()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch."""
        logits = self(batch[0])
        loss = F.cross_entropy(logits, batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy of a batch."""
        self.accuracy(self(batch[0]), batch[1])
        self.log("val_accuracy", self.accuracy)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Probabilities of a batch."""
        return self(batch[0]).softmax(dim=1)  # type: ignore[no-any-return]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over what trains."""
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.lr)


class InMemory(Dataset[tuple[Tensor, int]]):
    """Images in memory, transformed one by one; a sample's number may run over the end."""

    def __init__(self, folder: Path, part: str, transform: v2.Transform) -> None:
        self.images, self.transform = load_images(folder, part), transform

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        number %= len(self)
        pixels = torch.from_numpy(self.images.pixels[number]).movedim(-1, 0)
        return self.transform(pixels), int(self.images.labels[number])


class Runner(Base):
    """One plain Lightning model; see ``benchmarks.job.Job``."""

    def __init__(self, job: dict[str, Any]) -> None:
        torch.set_num_threads(job["threads"])
        torch.manual_seed(job["settings"]["seed"])
        self.job, self.settings = job, Settings(**job["settings"])
        self.device = torch_device(self.settings.accelerator)
        self.model = Classifier(job, self.settings.head_lr)
        self.initial = deepcopy(self.model.state_dict())

    def train(self, phase: str, source: str, meter: Meter) -> None:
        """Fit one phase until the meter ends it."""
        self.model.load_state_dict(self.initial)
        self.model.lr = self.settings.lr(phase)
        unfreezing = self._unfreezing(NEVER if phase == "head" else 0)
        trainer = make_trainer(self.job, [unfreezing, Steps(meter)], limit_val_batches=0)
        trainer.fit(self.model, self._loader(source, "train", ENDLESS))

    def evaluate(self, what: str, source: str, batches: int, meter: Meter) -> None:
        """Predict or validate so many batches."""
        trainer = make_trainer(self.job, [Steps(meter)], limit_predict_batches=batches, limit_val_batches=batches)
        loader = self._loader(source, "train", batches, augment=False)
        if what == "validate":
            trainer.validate(self.model, loader, verbose=False)
        else:
            trainer.predict(self.model, loader)

    def reach(self, accuracy: float, epochs: int) -> dict[str, Any]:
        """Train both phases until the held-out images are classified well enough."""
        self.model.load_state_dict(self.initial)
        self.model.lr = self.settings.head_lr
        goal = Goal(accuracy, "val_accuracy", self.settings.batch_size)
        trainer = make_trainer(self.job, [self._unfreezing(epochs), goal], max_epochs=2 * epochs)
        train = self._loader("resident", "train", self.settings.batches)
        trainer.fit(self.model, train, self._loader("resident", "val", 0, augment=False))
        return goal.result

    def _unfreezing(self, epoch: int) -> BackboneFinetuning:
        return BackboneFinetuning(
            unfreeze_backbone_at_epoch=epoch,
            lambda_func=lambda _: 1.0,
            backbone_initial_lr=self.settings.finetune_lr,
            should_align=False,
            train_bn=False,
        )

    def _loader(self, source: str, part: str, batches: int, augment: bool = True) -> "DataLoader[Any]":
        """``batches`` batches in order (0: all), or shuffled epochs from files, read by one process a thread."""
        size, pinned = self.settings.image_size, self.settings.accelerator == "gpu"
        workers: dict[str, Any] = {
            "num_workers": self.settings.threads,
            "persistent_workers": True,
            "pin_memory": pinned,
        }
        if source == "files":
            resized = [v2.PILToTensor(), v2.Resize((size, size), antialias=False), *steps(augment)]
            data = ImageFolder(self.job["root"], v2.Compose(resized))
            train, _ = random_split(data, [0.8, 0.2])
            return DataLoader(train if augment else data, self.settings.batch_size, shuffle=augment, **workers)
        kept = InMemory(Path(self.job["folder"]), part, v2.Compose(steps(augment)))
        order = range(batches * self.settings.batch_size or len(kept))
        return DataLoader(kept, self.settings.batch_size, sampler=order, **workers)


def steps(augment: bool) -> list[v2.Transform]:
    """The recipe's augmentation as torchvision has it, and scaling to [-1, 1]."""
    bilinear = v2.InterpolationMode.BILINEAR
    drawn = [v2.RandomHorizontalFlip(), v2.RandomAffine(36, scale=(0.9, 1.1), interpolation=bilinear)]
    scaling = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    return [*(drawn if augment else []), *scaling]
