"""The picture of augmented samples."""

from pathlib import Path

import pytest
import torch
from pictures import noise
from torchvision.io import decode_image

from lightning_tl.augment import (
    AugmentationPipeline,
    RandomFlip,
    RandomRotation,
    augmentation_grid,
    save_grid,
)

INDEX = torch.tensor([5, 9])


def cell(grid: torch.Tensor, row: int, column: int, height: int, width: int) -> torch.Tensor:
    top, left = 2 + row * (height + 2), 2 + column * (width + 2)
    return grid[:, top : top + height, left : left + width]


def test_rows_are_samples_and_columns_epochs() -> None:
    images, pipeline = noise(2, 12, 16), AugmentationPipeline([RandomFlip("horizontal"), RandomRotation(0.1)])
    grid = augmentation_grid(images, INDEX, pipeline, seed=3, epochs=4)
    assert grid.dtype == torch.uint8
    assert grid.shape == (3, 2 * 14 + 2, 5 * 18 + 2)
    for row in range(2):
        assert torch.equal(cell(grid, row, 0, 12, 16), images[row])
        for epoch in range(4):
            shown = pipeline(images, INDEX, 3, epoch)[row].round().to(torch.uint8)
            assert torch.equal(cell(grid, row, 1 + epoch, 12, 16), shown)


def test_written_png_holds_the_grid(tmp_path: Path) -> None:
    images, pipeline = noise(2, 12, 16), AugmentationPipeline([RandomFlip()])
    path = tmp_path / "new folder" / "grid.png"
    save_grid(path, images, INDEX, pipeline, seed=0)
    assert torch.equal(decode_image(path), augmentation_grid(images, INDEX, pipeline, 0))
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        save_grid(path, noise(2), torch.arange(3), AugmentationPipeline([RandomRotation(0.1)]), seed=0)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
