"""The ceiling: the bare network's arithmetic in torch and nothing else.

BatchNorm is folded where nothing trains, images are scaled already, and freed memory is kept.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.device import DEVICES, torch_device
from benchmarks.meter import Meter
from benchmarks.resident import load_images
from benchmarks.runners.base import Base, NotOfferedError
from benchmarks.runners.network import FROZEN, mobilenet_v2
from benchmarks.settings import Settings
from lightning_tl.memory import keep_freed_memory


class Runner(Base):
    """Forward in phase head and in prediction; forward and the backward of the last layers in phase finetune.

    Args:
        job: see ``benchmarks.job.Job``; ``options`` has ``compile``.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        torch.set_num_threads(job["threads"])
        keep_freed_memory()
        self.job, self.settings = job, Settings(**job["settings"])
        self.device = torch_device(self.settings.accelerator)
        self.place = DEVICES[self.settings.accelerator]
        self.mixed = job["precision"] == "mixed"
        blocks = mobilenet_v2(job)[0].to(memory_format=torch.channels_last).requires_grad_(False)
        self.frozen = self._ready(folded(blocks[:FROZEN]))
        self.last = self._ready(folded(blocks[FROZEN:]))
        trained = mobilenet_v2(job)[0].to(memory_format=torch.channels_last)[FROZEN:]
        self.parameters = list(trained.parameters())
        self.trained = self._ready(trained)

    def train(self, phase: str, source: str, meter: Meter) -> None:
        """Run batch after batch until the meter ends it."""
        if source != "resident":
            raise NotOfferedError("the ceiling is that of images in memory")
        batches, number, ended = self._batches(), 0, False
        step = self._forward if phase == "head" else self._backward
        while not ended:
            images = batches[number % len(batches)]
            with torch.autocast(self.place, torch.bfloat16, enabled=self.mixed):
                step(images)
            number += 1
            ended = meter.step(len(images))

    def evaluate(self, what: str, source: str, batches: int, meter: Meter) -> None:
        """Forward of so many batches: prediction and validation alike."""
        if source != "resident":
            raise NotOfferedError("the ceiling is that of images in memory")
        images = self._batches()
        for number in range(batches):
            batch = images[number % len(images)]
            with torch.autocast(self.place, torch.bfloat16, enabled=self.mixed):
                self._forward(batch)
            meter.step(len(batch))

    def _forward(self, images: Tensor) -> None:
        with torch.no_grad():
            self.last(self.frozen(images)).mean(dim=(2, 3))

    def _backward(self, images: Tensor) -> None:
        with torch.no_grad():
            features = self.frozen(images)
        loss = self.trained(features).mean(dim=(2, 3)).float().square().sum()
        torch.autograd.grad(loss, self.parameters)

    def _ready(self, module: nn.Module) -> Any:
        module = module.to(self.place)
        return torch.compile(module) if self.job["options"]["compile"] else module

    def _batches(self) -> list[Tensor]:
        """Scaled images, float32, channels last, on the device."""
        images, size = load_images(Path(self.job["folder"]), "train"), self.settings.batch_size
        return [
            (torch.from_numpy(images.batch(number, size)[0]).movedim(-1, 1) / 127.5 - 1).to(
                self.place, memory_format=torch.channels_last
            )
            for number in range(self.settings.batches)
        ]


def folded(blocks: nn.Module) -> nn.Module:
    """The same function with every BatchNorm inside the convolution before it, in place."""
    for parent in list(blocks.modules()):
        children = list(parent.named_children())
        for (name, first), (second_name, second) in pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(first, second))
                setattr(parent, second_name, nn.Identity())
    return blocks
