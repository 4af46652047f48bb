"""Small training runs that several tests share: coloured noise in a few classes, a narrow MobileNetV2."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from PIL import Image

from lightning_tl import ImageFolderDataModule, PhasedFinetuning, TransferClassifier

PHASES: list[dict[str, Any]] = [
    {"name": "head", "epochs": 2, "lr": 1e-2},
    {"name": "finetune", "epochs": 2, "lr": 1e-3, "unfreeze_last": 20},
]
SMALL = "timm/mobilenetv2_035"
AUGMENT = [{"class_path": "RandomFlip"}, {"class_path": "RandomRotation", "init_args": {"factor": 0.1}}]


def draw_images(root: Path, classes: Sequence[str] = ("blue", "green", "red"), count: int = 10) -> Path:
    """Images of 40x48 pixels whose colour gives their class away."""
    generator = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(0, 120, (40, 48, 3))
            pixels[..., label % 3] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i:02}.png")
    return root


def make_data(root: Path, **options: Any) -> ImageFolderDataModule:
    return ImageFolderDataModule(str(root), **{"image_size": 32, "batch_size": 8, "num_workers": 0, **options})


def make_model(data: ImageFolderDataModule, **options: Any) -> TransferClassifier:
    defaults = {"backbone": SMALL, "weights": "none", "image_size": 32, "augment": AUGMENT}
    return TransferClassifier(data.class_names, **{**defaults, **options})


def make_trainer(folder: Path, phases: Sequence[Any] = PHASES, **options: Any) -> lightning.Trainer:
    callbacks = [PhasedFinetuning(phases), *options.pop("callbacks", [])]
    defaults: dict[str, Any] = {
        "max_epochs": -1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    return lightning.Trainer(**{**defaults, **options}, callbacks=callbacks)


class Losses(Callback):
    """Of training and validation, epoch by epoch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.values += [float(trainer.callback_metrics[name]) for name in ("train_loss", "val_loss")]


class EpochRecorder(Callback):
    """Notes, at each epoch's end, what was trainable and with which optimizer."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.losses: list[float] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        optimizer = trainer.optimizers[0]
        self.epochs.append(
            {
                "trainable": [name for name, p in pl_module.named_parameters() if p.requires_grad],
                "optimizer": id(optimizer),
                "class": type(optimizer),
                "lr": optimizer.param_groups[0]["lr"],
                "steps": optimizer.param_groups[0].get("steps"),
            }
        )
        self.losses.append(float(trainer.callback_metrics["train_loss"]))


Fit = Callable[..., tuple[TransferClassifier, lightning.Trainer, EpochRecorder]]


def fit_phases(
    images: Path,
    folder: Path,
    phases: Sequence[Any] = PHASES,
    model: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[TransferClassifier, lightning.Trainer, EpochRecorder]:
    """A new model trained through the phases, its trainer with these ``options``, and what there was to note."""
    lightning.seed_everything(0, verbose=False)  # of the backbone's random weights
    data, recorder = make_data(images), EpochRecorder()
    module = make_model(data, **(model or {}))
    trainer = make_trainer(folder, phases, callbacks=[recorder, *options.pop("callbacks", [])], **options)
    trainer.fit(module, data)
    return module, trainer, recorder


def phased(trainer: lightning.Trainer) -> PhasedFinetuning:
    return next(callback for callback in trainer.callbacks if isinstance(callback, PhasedFinetuning))  # type: ignore[attr-defined]
