"""What the two Lightning runners share: a quiet trainer and callbacks that feed a meter."""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from benchmarks.meter import Meter

PRECISION: dict[str, Any] = {"float32": "32-true", "mixed": "bf16-mixed"}


def make_trainer(job: dict[str, Any], callbacks: Sequence[Callback], **options: Any) -> lightning.Trainer:
    """A trainer that writes nothing; everything between two batches is as in any run."""
    warnings.simplefilter("ignore")
    ranks: dict[str, Any] = {"devices": 1}
    if job["world"] > 1:
        ranks = {"devices": job["world"], "strategy": "ddp", "use_distributed_sampler": False}
    defaults: dict[str, Any] = {
        "max_epochs": -1,
        "accelerator": job["settings"]["accelerator"],
        "precision": PRECISION[job["precision"]],
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **ranks,
    }
    return lightning.Trainer(**{**defaults, **options}, callbacks=list(callbacks))


class Steps(Callback):
    """Tells the meter of every step and ends the fit when it says so."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a training step."""
        if self.meter.step(_size(batch) * trainer.world_size, outputs["loss"].detach()):
            trainer.should_stop = True

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note a predicted or validated batch."""
        self.meter.step(_size(batch))

    on_validation_batch_end = on_predict_batch_end


class Losses(Callback):
    """Keeps the loss of every training step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep one."""
        self.losses.append(float(outputs["loss"]))


class Goal(Callback):
    """Ends the fit when validation accuracy has reached the goal, and notes when that was.

    Args:
        accuracy: the goal, a fraction.
        metric: name under which the module logs validation accuracy.
        batch_size: images a step.
    """

    def __init__(self, accuracy: float, metric: str, batch_size: int) -> None:
        self.accuracy, self.metric, self.batch_size = accuracy, metric, batch_size
        self.began = time.perf_counter()
        self.result: dict[str, Any] = {"reached": False}

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look at the accuracy of this epoch."""
        reached = float(trainer.callback_metrics[self.metric])
        self.result = {
            "reached": reached >= self.accuracy,
            "accuracy": reached,
            "seconds": time.perf_counter() - self.began,
            "images": trainer.global_step * self.batch_size,
        }
        if self.result["reached"]:
            trainer.should_stop = True


def _size(batch: Any) -> int:
    """Images in a batch, which is a dict or (images, labels)."""
    return len(batch["label"] if isinstance(batch, dict) else batch[1])
