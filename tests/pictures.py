"""Images for the tests of augmentation."""

import torch
from torch import Tensor


def noise(batch: int = 6, height: int = 17, width: int = 24, seed: int = 0) -> Tensor:
    """The hardest pictures: every pixel another number, uint8 (batch, 3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)


def waves(batch: int, height: int, width: int) -> Tensor:
    """Smooth pictures in [0, 255] with two waves across, float32 (batch, 3, height, width)."""
    y = torch.linspace(0, 12.6, height)[:, None]
    x = torch.linspace(0, 12.6, width)
    phase = torch.arange(batch * 3).reshape(batch, 3, 1, 1)
    return 127.5 + 60.0 * torch.sin(x + phase) + 60.0 * torch.cos(y - phase)
