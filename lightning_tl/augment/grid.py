"""A picture of what augmentation does: every row a sample, every column an epoch."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision.io import write_png
from torchvision.utils import make_grid

from lightning_tl.augment.pipeline import AugmentationPipeline
from lightning_tl.files import replacing


def augmented_samples(
    images: Tensor, index: Tensor, pipeline: AugmentationPipeline, seed: int, epochs: int = 7
) -> Tensor:
    """Samples as the first epochs of a run show them.

    Args:
        images: uint8, shape (samples, 3, height, width).
        index: of the samples, int64, shape (samples,); with ``seed`` it decides the draws.
        pipeline: the augmentations.
        seed: of the run.
        epochs: number of columns after the first, which holds the originals.

    Returns:
        uint8, shape (samples, columns, 3, height, width), on the CPU.
    """
    columns = [images]
    for epoch in range(epochs):
        augmented = pipeline(images, index, seed, epoch)
        columns.append(augmented.round().clamp(0, 255).to(torch.uint8))
    return torch.stack(columns, dim=1).cpu()


def lay_out(pictures: Tensor) -> Tensor:
    """One picture of many: uint8 (rows, columns, 3, height, width) to (3, grid height, grid width), 2 pixels apart."""
    grid: Tensor = make_grid(pictures.flatten(0, 1), nrow=pictures.shape[1], padding=2, pad_value=255)
    return grid


def augmentation_grid(
    images: Tensor, index: Tensor, pipeline: AugmentationPipeline, seed: int, epochs: int = 7
) -> Tensor:
    """``augmented_samples`` as one picture, a row a sample: uint8 (3, grid height, grid width), on the CPU."""
    return lay_out(augmented_samples(images, index, pipeline, seed, epochs))


def save_grid(
    path: str | Path,
    images: Tensor,
    index: Tensor,
    pipeline: AugmentationPipeline,
    seed: int,
    epochs: int = 7,
) -> None:
    """Write ``augmentation_grid`` as a PNG file, whole or not at all.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    grid = augmentation_grid(images, index, pipeline, seed, epochs)
    with replacing(path) as temporary:
        write_png(grid, str(temporary))
