"""What one would write with fastai: a ``Learner``, batch transforms on the device, ``fine_tune``."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.metrics import accuracy as fastai_accuracy
from fastai.torch_core import TensorCategory, params
from fastai.vision.augment import Flip, Rotate, Zoom, setup_aug_tfms
from fastai.vision.core import TensorImage
from PIL import Image
from torch import Tensor, nn
from torchvision.datasets import ImageFolder

from benchmarks.device import DEVICES, torch_device
from benchmarks.meter import Meter
from benchmarks.resident import load_images
from benchmarks.runners.base import Base
from benchmarks.runners.network import FROZEN, mobilenet_v2
from benchmarks.settings import DROPOUT, Settings
from lightning_tl.head import linear_head


class Classifier(nn.Module):
    """MobileNetV2 in three groups: frozen blocks, last blocks, head. BatchNorm is in inference mode."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__()
        blocks, features = mobilenet_v2(job)
        self.stem, self.last = blocks[:FROZEN], blocks[FROZEN:]
        self.head = nn.Sequential(
            nn.Dropout(DROPOUT), linear_head(features, len(job["classes"]), job["settings"]["seed"])
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of float images in [0, 1]."""
        return self.head(self.last(self.stem(images * 2 - 1)).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> "Classifier":
        """Only the head trains as fastai means it."""
        super().train(False)
        self.head.train(mode)
        return self


class Noted(Callback):  # type: ignore[misc]  # fastai ships no types
    """Tells the meter of every step, and ends the fit when it says so."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def after_batch(self) -> None:
        """Note a step or a predicted batch."""
        loss = self.learn.loss.detach() if self.learn.training else None
        if self.meter.step(len(self.learn.x), loss) and self.learn.training:
            raise CancelFitException


class Samples:
    """Images in memory or in files, as fastai's data loader asks for them: (TensorImage, TensorCategory)."""

    def __init__(self, job: dict[str, Any], source: str, part: str, length: int) -> None:
        self.size, self.length = job["settings"]["image_size"], length
        self.files = ImageFolder(job["root"]).samples if source == "files" else None
        self.kept = None if self.files else load_images(Path(job["folder"]), part)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        if self.files is not None:
            path, label = self.files[number % len(self.files)]
            with Image.open(path) as image:
                resized = image.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(resized))
        else:
            assert self.kept is not None
            number %= len(self.kept.labels)
            pixels, label = torch.from_numpy(self.kept.pixels[number]), int(self.kept.labels[number])
        return TensorImage(pixels.movedim(-1, 0).contiguous()), TensorCategory(label)


class Runner(Base):
    """One fastai learner; see ``benchmarks.job.Job``."""

    def __init__(self, job: dict[str, Any]) -> None:
        torch.set_num_threads(job["threads"])
        torch.manual_seed(job["settings"]["seed"])
        self.job, self.settings = job, Settings(**job["settings"])
        self.device = torch_device(self.settings.accelerator)
        self.model = Classifier(job).to(DEVICES[self.settings.accelerator])
        self.initial = deepcopy(self.model.state_dict())

    def train(self, phase: str, source: str, meter: Meter) -> None:
        """Fit one phase, as ``fine_tune`` does its two, until the meter ends it."""
        learner = self._learner(self._loader(source, "train", self.settings.steps_of_a_fit), None, [Noted(meter)])
        learner.freeze_to(2 if phase == "head" else 1)
        learner.fit(1, self.settings.lr(phase))

    def evaluate(self, what: str, source: str, batches: int, meter: Meter) -> None:
        """Predict or validate so many batches."""
        loader = self._loader(source, "train", batches, augment=False)
        learner = self._learner(loader, loader, [Noted(meter)])
        if what == "validate":
            learner.validate(dl=loader)
        else:
            learner.get_preds(dl=loader)

    def _learner(self, train: Any, valid: Any, callbacks: list[Any]) -> Learner:
        self.model.load_state_dict(self.initial)
        loaders = DataLoaders(train, valid or train, device=torch.device(DEVICES[self.settings.accelerator]))
        learner = Learner(
            loaders,
            self.model,
            loss_func=nn.CrossEntropyLoss(),
            metrics=fastai_accuracy,
            splitter=lambda model: [params(model.stem), params(model.last), params(model.head)],
            train_bn=False,
            cbs=callbacks,
        )
        learner.remove_cbs(learner.cbs.filter(lambda cb: type(cb).__name__ in ("ProgressCallback", "Recorder")))
        return learner

    def _loader(self, source: str, part: str, batches: int, augment: bool = True) -> DataLoader:
        drawn = setup_aug_tfms([Flip(p=0.5), Rotate(max_deg=36, p=1.0), Zoom(0.9, 1.1, p=1.0)]) if augment else []

        def prepare(batch: Any) -> Any:
            images, labels = batch
            images = TensorImage(images.float() / 255)
            for transform in drawn:
                images = transform(images, split_idx=0)
            return images, labels

        return DataLoader(
            Samples(self.job, source, part, batches * self.settings.batch_size),
            bs=self.settings.batch_size,
            num_workers=self.settings.threads,
            after_batch=prepare,
        )
