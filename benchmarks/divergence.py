"""Small fits whose ranks are compared after each epoch; run by ``scripts/divergence_study.py``.

``python -m benchmarks.divergence SPEC.json OUT``: SPEC is a list of jobs for one number of processes; rank 0 leaves
``OUT/<job>.pt`` for each.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import BackboneFinetuning, Callback
from torch import Tensor, nn

from lightning_tl import ImageFolderDataModule, PhasedFinetuning, TransferClassifier
from lightning_tl.augment import RandomFlip, RandomRotation
from lightning_tl.backbone import Backbone
from lightning_tl.ranks import gather

BACKBONE, SIZE = "timm/mobilenetv2_035", 32
HEAD_LR, BACKBONE_LR = 1e-3, 1e-5
"""The recipe's."""


class PlainClassifier(lightning.LightningModule):
    """The same backbone and a head as tutorials put them together, with what ``BackboneFinetuning`` asks for."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(BACKBONE, "torch", (SIZE, SIZE))
        self.head = nn.Linear(self.backbone.num_features, num_classes)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of one batch, a scalar."""
        return F.cross_entropy(self.head(self.backbone(batch["image"])), batch["label"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over what trains at the start; the callback adds the backbone when it unfreezes it."""
        return torch.optim.Adam((p for p in self.parameters() if p.requires_grad), lr=HEAD_LR)


class Apart(Callback):
    """After each epoch: how far the ranks are apart, and rank 0's weights."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Bring the weights of all ranks together."""
        weights = {name: parameter.detach().clone() for name, parameter in pl_module.named_parameters()}
        apart = [_spread(gather(trainer, weight[None])) for weight in weights.values()]
        largest = float(np.max([value for value, _ in apart]))  # Python's max may pass over a NaN
        differing = sum(differs for _, differs in apart)
        self.epochs.append({"apart": largest, "differing": differing, "tensors": len(apart), "weights": weights})


def _spread(gathered: Tensor) -> tuple[float, bool]:
    """Of a tensor by rank, (ranks, ...): the largest norm of a difference from rank 0 over rank 0's; any difference."""
    first = gathered[:1]
    norms = (gathered - first).flatten(1).norm(dim=1) / first.norm().clamp_min(1e-12)
    return float(norms.max()), not torch.equal(gathered, first.expand_as(gathered))


def run(job: dict[str, Any], out: Path) -> None:
    """One fit."""
    lightning.seed_everything(0, verbose=False)  # of the random weights
    batch = job["global_batch"]
    data = ImageFolderDataModule(
        job["root"], image_size=SIZE, batch_size=batch, batch_size_is="global", num_workers=0, val_fraction=0.3
    )
    apart = Apart()
    model, callback = _field(data, job["epochs"]) if job["callback"] == "field" else _ours(data, job["epochs"])
    trainer = lightning.Trainer(
        strategy="ddp" if job["devices"] > 1 else "auto",
        devices=job["devices"],
        precision=job["precision"],
        max_epochs=sum(job["epochs"]),
        callbacks=[callback, apart],
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    trainer.fit(model, data)
    if trainer.is_global_zero:
        assert trainer.world_size == job["devices"]
        torch.save(apart.epochs, out / f"{job['name']}.pt")


def _field(data: ImageFolderDataModule, epochs: Sequence[int]) -> tuple[lightning.LightningModule, Callback]:
    """Lightning's own callback, as its documentation shows it; at a constant rate, to compare like with like."""
    callback = BackboneFinetuning(
        unfreeze_backbone_at_epoch=epochs[0],
        lambda_func=_constant,
        backbone_initial_lr=BACKBONE_LR,
        train_bn=False,
    )
    return PlainClassifier(data.num_classes), callback


def _ours(data: ImageFolderDataModule, epochs: Sequence[int]) -> tuple[lightning.LightningModule, Callback]:
    augment = [RandomFlip("horizontal"), RandomRotation(0.1)]
    model = TransferClassifier(data.class_names, BACKBONE, weights="none", image_size=SIZE, augment=augment)
    phases = [
        {"name": "head", "epochs": epochs[0], "lr": HEAD_LR},
        {"name": "finetune", "epochs": epochs[1], "lr": BACKBONE_LR, "unfreeze_last": 20},
    ]
    return model, PhasedFinetuning(phases)


def _constant(epoch: int) -> float:
    return 1.0


if __name__ == "__main__":
    torch.set_num_threads(1)
    for one in json.loads(Path(sys.argv[1]).read_text()):
        run(one, Path(sys.argv[2]))
