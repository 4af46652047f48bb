"""lightning-tl as its command line uses it: TransferClassifier, PhasedFinetuning, Trainer, ImageFolderDataModule."""

import inspect
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.compile import from_compiled
from timm.layers.padding import pad_same
from torch import Tensor

from benchmarks.device import torch_device
from benchmarks.meter import Meter
from benchmarks.resident import load_images
from benchmarks.runners.base import Base
from benchmarks.runners.feed import ENDLESS, Feed
from benchmarks.runners.lightning_parts import Goal, Losses, Steps, make_trainer
from benchmarks.settings import AUGMENT, DROPOUT, PHASES, Settings
from lightning_tl import (
    ImageFolderDataModule,
    PhasedFinetuning,
    TransferClassifier,
    cuda_graph,
    folding,
    frozen_blocks,
    frozen_graph,
    fused_conv,
    padding,
    relu6,
    step_graph,
)
from lightning_tl.classifier import HEAD_ONLY
from lightning_tl.optim import KerasAdam

SWITCHES = (
    "compile",
    "padded_copies",
    "separate_relu6",
    "separate_passes",
    "plain_layout",
    "no_graph",
    "unrecorded",
    "steps_apart",
    "norms_apart",
    "all_layers",
    "adam_in_passes",
)
"""Options that are no constructor's; see ``Runner``."""


class Runner(Base):
    """One lightning-tl model.

    Args:
        job: see ``benchmarks.job.Job``; ``options`` are constructor arguments of TransferClassifier,
            PhasedFinetuning, ImageFolderDataModule or Trainer, each given to the one that takes it. ``compile`` goes
            to ``torch.compile`` as long as none of them does; ``padded_copies`` has convolutions pad as timm's do;
            ``separate_relu6`` has each ReLU6 be a pass of its own, ``separate_passes`` biases and padding too, on a
            GPU; ``plain_layout`` keeps channels last, or as they are, in frozen blocks too; ``no_graph`` computes
            frozen layers one by one; ``steps_apart`` makes no CUDA graph of a training step, ``unrecorded`` none of
            anything but frozen layers; ``norms_apart`` leaves BatchNorm that trains a layer of its own;
            ``all_layers`` has finetune train the whole backbone; ``adam_in_passes`` has torch's default implementation
            of Adam.

    Raises:
        TypeError: an option that none of them takes.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        torch.set_num_threads(job["threads"])
        self.job, self.settings = job, Settings(**job["settings"])
        self.device = torch_device(self.settings.accelerator)
        self.options = divide(job["options"])
        switch(self.options["rest"])
        self.model = self._model()
        self.initial = deepcopy(self.model.state_dict())

    def train(self, phase: str, source: str, meter: Meter) -> None:
        """Fit one phase until the meter ends it."""
        self.model.load_state_dict(self.initial)
        trainer = self._trainer([self._phases([phase], ENDLESS), Steps(meter)])
        trainer.fit(self.model, self._data() if source == "files" else self._feed(), ckpt_path=None)

    def evaluate(self, what: str, source: str, batches: int, meter: Meter) -> None:
        """Predict or validate so many batches, with everything frozen, as the commands find a model."""
        self.model.set_phase(HEAD_ONLY)
        steps = Steps(meter)
        trainer = self._trainer([steps], limit_predict_batches=batches, limit_val_batches=batches)
        data: Any = self._feed("train", batches, labelled=what == "validate")
        if what == "validate":
            trainer.validate(self.model, data, verbose=False)
        else:
            trainer.predict(self.model, self._data() if source == "files" else data)

    def losses(self, phase: str, steps: int) -> list[float]:
        """Losses of the first steps with draws and resampling as the Keras side can share them."""
        model, kept = self._model(fused=False), Losses()
        trainer = self._trainer([self._phases([phase], 1), kept])
        trainer.fit(model, self._feed("train", steps))
        return kept.losses

    def reach(self, accuracy: float, epochs: int) -> dict[str, Any]:
        """Train both phases until the held-out images are classified well enough."""
        model = self._model()
        goal = Goal(accuracy, "val_accuracy", self.settings.batch_size)
        trainer = self._trainer([self._phases(PHASES, epochs), goal], limit_val_batches=1.0)
        trainer.fit(model, self._feed("train", self.settings.batches), self._feed("val", 0))
        return goal.result

    def _model(self, **further: Any) -> TransferClassifier:
        options = {"augment": AUGMENT, **self.options["model"], **further}
        model = TransferClassifier(
            self.job["classes"],
            weights=self.job["weights"],
            image_size=self.settings.image_size,
            dropout=DROPOUT,
            backbone_args={"width_mult": self.settings.alpha},
            seed=self.settings.seed,
            **options,
        )
        if self.options["rest"].get("compile"):
            return from_compiled(torch.compile(model))  # type: ignore[arg-type, return-value]  # compiled in place
        return model

    def _phases(self, names: Any, epochs: int) -> PhasedFinetuning:
        settings = self.settings
        adam = f"{KerasAdam.__module__}.{KerasAdam.__name__}"
        everything = "all" if self.options["rest"].get("all_layers") else None
        several = {"optimizer": {"class_path": adam, "init_args": {"fused": False}}}
        further = several if self.options["rest"].get("adam_in_passes") else {}
        phases = [
            {
                "name": name,
                "epochs": epochs,
                "lr": settings.lr(name),
                "unfreeze_last": everything if name == "finetune" and everything else settings.unfreeze_last(name),
                **further,
            }
            for name in names
        ]
        return PhasedFinetuning(phases, **self.options["phases"])

    def _trainer(self, callbacks: list[Any], **options: Any) -> lightning.Trainer:
        return make_trainer(self.job, callbacks, **{"limit_val_batches": 0, **self.options["trainer"], **options})

    def _feed(self, part: str = "train", length: int = ENDLESS, labelled: bool = True) -> Feed:
        images = load_images(Path(self.job["folder"]), part)
        length = length or max(1, len(images.labels) // self.settings.batch_size)
        pinned = self.settings.accelerator == "gpu"
        return Feed(images, self.settings.batch_size, length, labelled, self.model.cache_features, pinned)

    def _data(self) -> ImageFolderDataModule:
        settings = self.settings
        return ImageFolderDataModule(
            self.job["root"],
            image_size=settings.image_size,
            batch_size=settings.batch_size,
            seed=settings.seed,
            **{"num_workers": settings.threads, **self.options["data"]},
        )


def switch(options: dict[str, Any]) -> None:
    """Switch off, in all of this process, what ``SWITCHES`` among the options say; see ``Runner``."""
    if options.get("padded_copies"):
        padding.same_padded = folding.same_padded = _padded  # type: ignore[attr-defined]
    if options.get("separate_relu6"):
        relu6.in_one_pass = lambda x, weight: False
    if options.get("separate_passes"):
        fused_conv.works_on = lambda device, dtype: False
    if options.get("plain_layout"):
        frozen_blocks.Block.computes_in = lambda self, x: None  # type: ignore[method-assign]
    if options.get("no_graph"):
        frozen_graph.WORTH = 2**62
    if options.get("unrecorded"):
        cuda_graph.GraphRecorder.__call__ = lambda *_, **__: None  # type: ignore[method-assign]
    if options.get("steps_apart"):
        step_graph.offered = lambda images: False
    if options.get("norms_apart"):
        folding.join = lambda pair: None


def _padded(x: Tensor, weight: Tensor, stride: Any, dilation: Any) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The copy that ``lightning_tl.padding.same_padded`` does without."""
    return pad_same(x, weight.shape[-2:], stride, dilation), weight, (0, 0)


def divide(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Options by the constructor that takes them: ``model``, ``phases``, ``data``, ``trainer``, ``rest``.

    Raises:
        TypeError: one that none of them takes.
    """
    takers: dict[str, Any] = {
        "model": TransferClassifier,
        "phases": PhasedFinetuning,
        "data": ImageFolderDataModule,
        "trainer": lightning.Trainer,
    }
    divided: dict[str, dict[str, Any]] = {name: {} for name in (*takers, "rest")}
    for option, value in options.items():
        found = [name for name, taker in takers.items() if option in inspect.signature(taker).parameters]
        if not found and option not in SWITCHES:
            raise TypeError(f"lightning-tl has no option {option}. Received: {option}={value!r}.")
        divided[found[0] if found else "rest"][option] = value
    return divided
