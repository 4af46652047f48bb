"""Our side of the claims: real TransferClassifiers, in Keras' convention, at the precision asked for."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from lightning_tl import TransferClassifier
from lightning_tl.keras_layers import Library

CLASSES = 5
LIBRARIES: tuple[Library, ...] = get_args(Library)


def classifier(
    weights: str, alpha: float, size: Sequence[int], float64: bool, library: Library = "torchvision", **options: Any
) -> TransferClassifier:
    """A classifier with weights from a Keras file; ``weights: none`` for random ones.

    Args:
        weights: path of a Keras file.
        alpha: width multiplier.
        size: (height, width).
        float64: at that precision, else float32.
        library: whose network.
        **options: further arguments of ``TransferClassifier``.
    """
    name, network = backbone(library, alpha)
    classes = [f"class {number}" for number in range(CLASSES)]
    module = TransferClassifier(
        classes, name, weights, list(size), backbone_args=network, convention="keras", **options
    )
    return module.to(torch.float64 if float64 else torch.float32)


def backbone(library: Library, alpha: float) -> tuple[str, dict[str, Any]]:
    """Name and constructor arguments of MobileNetV2 of this width."""
    if library == "timm":
        return f"timm/mobilenetv2_{round(100 * alpha):03d}", {}
    return "torchvision/mobilenet_v2", {"width_mult": alpha}


def to_torch(images: np.ndarray, float64: bool) -> Tensor:
    """(batch, height, width, 3) to (batch, 3, height, width), floats at the precision asked for."""
    return cast(images, float64).movedim(-1, 1)


def cast(array: np.ndarray, float64: bool) -> Tensor:
    """A tensor at the precision asked for."""
    return torch.from_numpy(array).to(torch.float64 if float64 else torch.float32)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Images and feature maps with channels last, anything else as it is."""
    tensor = tensor.detach()
    return (tensor.movedim(1, -1) if tensor.ndim == 4 else tensor).numpy()


def index(count: int) -> Tensor:
    """Sample indices from 0."""
    return torch.arange(count)
