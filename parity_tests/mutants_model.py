"""Mistakes in the network: padding, constants, scaling, weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl import keras_layers, network
from lightning_tl.backbone import Backbone
from lightning_tl.batchnorm import Inference
from lightning_tl.keras_layers import name_table
from parity_tests.mutant import Mutant, replaced, wrapped


def symmetric(conv: nn.Conv2d) -> nn.Conv2d:
    """Padding of torch, which is Keras' at odd sizes alone."""
    return conv


def swapped(scale: Callable[[Backbone, Tensor], Tensor]) -> Callable[[Backbone, Tensor], Tensor]:
    return lambda self, images: scale(self, images.flip(1))


def unit_scale(self: Backbone, images: Tensor) -> Tensor:
    return images.to(self.divisor.dtype) / 255


def off_by(more: int) -> Callable[[Any], Any]:
    """Unfreezes ``more`` layers than told, within what there is."""

    def make(unfreeze_last: Any) -> Any:
        def unfreeze(self: Backbone, count: int) -> Any:
            return unfreeze_last(self, min(max(count + more, 0), len(self.layers())))

        return unfreeze

    return make


def leaf_modules(unfreeze_last: Any) -> Any:
    """Counts modules with weights instead of Keras' layers."""

    def unfreeze(self: Backbone, count: int) -> list[str]:
        weighted = [module for _, module in self.layers() if module is not None]
        unfreeze_last(self, 0)
        for module in weighted[len(weighted) - count :]:
            module.requires_grad_(True)
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    return unfreeze


@contextmanager
def transposed() -> Iterator[None]:
    """Convolution kernels with height and width, or in and out channels where those are square, exchanged."""
    axes = {**keras_layers.AXES, "DepthwiseConv2D": (2, 3, 1, 0)}
    name_table.cache_clear()
    with replaced((keras_layers, "AXES", axes))():
        yield
    name_table.cache_clear()


@contextmanager
def training_mode() -> Iterator[None]:
    """``.train()`` reaches the BatchNorm layers, which then use and move batch statistics."""

    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        return nn.Module.train(self, mode)

    with replaced((Inference, "train", train), (Backbone, "train", train))():
        yield


def without_relu6(self: nn.ReLU6, x: Tensor) -> Tensor:
    return torch.relu(x)


def summed(self: Backbone, features: Tensor) -> Tensor:
    return features.amax(dim=(2, 3))


MUTANTS_MODEL = (
    Mutant(
        "symmetric padding",
        "strided convolutions of torchvision's network pad as in torch",
        replaced((network, "_same_padding", symmetric)),
        ("forward", "stages"),
    ),
    Mutant(
        "epsilon 1e-5",
        "BatchNorm has torch's epsilon",
        replaced((network, "KERAS_BN_EPSILON", 1e-5)),
        ("forward", "stages", "batchnorm-constants"),
    ),
    Mutant(
        "BatchNorm momentum uninverted",
        "torch's momentum is given Keras' number 0.999",
        replaced((network, "KERAS_BN_MOMENTUM", 0.999)),
        ("batchnorm-constants",),
    ),
    Mutant("BatchNorm in train mode", "the backbone follows .train()", training_mode, ("batchnorm-still", "gradients")),
    Mutant(
        "scaling by 1/255",
        "pixels reach the network in [0, 1]",
        replaced((Backbone, "scale", unit_scale)),
        ("forward", "stages"),
    ),
    Mutant(
        "channel order swapped",
        "pixels reach the network as BGR",
        wrapped(Backbone, "scale", swapped),
        ("forward", "stages"),
    ),
    Mutant(
        "kernel transposed",
        "square depthwise kernels are read with height and width exchanged",
        transposed,
        ("forward", "stages"),
    ),
    Mutant(
        "ReLU unbounded",
        "activations are not cut at 6",
        replaced((nn.ReLU6, "forward", without_relu6)),
        ("forward", "stages"),
    ),
    Mutant(
        "maximum instead of average",
        "features are pooled by their maximum",
        replaced((Backbone, "pool", summed)),
        ("forward",),
    ),
    Mutant(
        "last 19",
        "one layer fewer is unfrozen",
        wrapped(Backbone, "unfreeze_last", off_by(-1)),
        ("trainable-sets", "gradients"),
    ),
    Mutant(
        "last 21",
        "one layer more is unfrozen (for 20 that is an addition without weights: other numbers must show it)",
        wrapped(Backbone, "unfreeze_last", off_by(1)),
        ("trainable-sets",),
    ),
    Mutant(
        "layers counted as modules",
        "activations and additions do not count",
        wrapped(Backbone, "unfreeze_last", leaf_modules),
        ("trainable-sets", "gradients"),
    ),
)
