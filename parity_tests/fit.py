"""Our side of training: a real ``Trainer.fit`` through PhasedFinetuning, on arrays from outside."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, Dataset

from lightning_tl import PhasedFinetuning, TransferClassifier
from lightning_tl.classifier import Batch
from parity_tests.names import state, to_keras
from parity_tests.ours import Library, to_torch
from parity_tests.processes import Arrays


@dataclass
class Run:
    """What one training left.

    Attributes:
        losses: of every step, one list a phase.
        weights: all tensors after each phase, as ``phase/layer/variable`` in Keras' layout.
        gradients: of the first step, by ``layer/variable``.
    """

    losses: list[list[float]] = field(default_factory=list)
    weights: Arrays = field(default_factory=dict)
    gradients: Arrays = field(default_factory=dict)


def train(
    model: TransferClassifier,
    phases: Sequence[dict[str, Any]],
    arrays: Arrays,
    float64: bool,
    library: Library = "torchvision",
    alpha: float = 0.35,
) -> Run:
    """Train through the phases, an epoch each.

    Args:
        model: with its initial weights.
        phases: as for PhasedFinetuning.
        arrays: ``images`` (phases, steps, batch, height, width, 3), ``labels``, ``index`` (phases, steps, batch).
        float64: precision.
        library: whose network.
        alpha: its width.
    """
    recorder = Recorder(library, alpha)
    trainer = lightning.Trainer(
        max_epochs=-1,
        accelerator="cpu",
        devices=1,
        precision="64-true" if float64 else "32-true",
        callbacks=[PhasedFinetuning(phases), recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
    )
    model.train()  # as a user may: the trainer keeps the mode that it is given, the backbone must keep its own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You defined a `validation_step`")  # there is nothing to validate
        warnings.filterwarnings("ignore", message="The '.*' does not have many workers")
        trainer.fit(model, datamodule=Injected(arrays, float64))
    return recorder.run


class Injected(lightning.LightningDataModule):
    """The batches of ``arrays``, those of the epoch that is running."""

    def __init__(self, arrays: Arrays, float64: bool) -> None:
        super().__init__()
        self.arrays, self.float64 = arrays, float64

    def train_dataloader(self) -> "DataLoader[Batch]":
        """Whole batches, in order; asked for anew in every epoch."""
        assert self.trainer is not None
        return DataLoader(Epoch(self.arrays, self.trainer.current_epoch, self.float64), batch_size=None)


class Epoch(Dataset[Batch]):
    """The batches of one epoch."""

    def __init__(self, arrays: Arrays, epoch: int, float64: bool) -> None:
        self.arrays, self.epoch, self.float64 = arrays, epoch, float64

    def __len__(self) -> int:
        return int(self.arrays["images"].shape[1])

    def __getitem__(self, step: int) -> Batch:
        images, labels, index = (self.arrays[name][self.epoch, step] for name in ("images", "labels", "index"))
        return {
            "image": to_torch(images, self.float64),
            "label": torch.from_numpy(labels),
            "index": torch.from_numpy(index),
        }


class Recorder(Callback):
    """Notes losses and gradients, and the weights at each epoch's end."""

    def __init__(self, library: Library, alpha: float) -> None:
        self.library, self.alpha = library, alpha
        self.run = Run()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.run.losses.append([])

    def on_after_backward(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.global_step == 0:
            gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
            self.run.gradients = to_keras(gradients, self.library, self.alpha)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.run.losses[-1].append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, TransferClassifier)
        weights = state(pl_module, self.library, self.alpha)
        self.run.weights |= {f"{pl_module.phase.name}/{name}": value for name, value in weights.items()}
