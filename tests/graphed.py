"""Backbones whose frozen layers are one graph of oneDNN's, and what they must give."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_tl import frozen_graph
from lightning_tl.backbone import Backbone

needs_graphs = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not hasattr(torch.jit, "enable_onednn_fusion"),  # type: ignore[no-untyped-call]
    reason="this torch has no oneDNN graphs",
)
needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bfloat16 on this processor"
)
BATCH, SIZE = 8, (64, 64)


def images(count: int = BATCH, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def lived_in(name: str, convention: str = "keras", size: tuple[int, int] = SIZE, **options: Any) -> Backbone:
    """A frozen backbone whose BatchNorm knows the images, as with pretrained weights, so that their features differ."""
    torch.manual_seed(0)
    plain = Backbone(name, convention, size, fold_batchnorm=False)  # type: ignore[arg-type]

    def take_statistics(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        norm.running_mean, norm.running_var = args[0].mean((0, 2, 3)), args[0].var((0, 2, 3))  # type: ignore[assignment]

    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.register_forward_pre_hook(take_statistics)
    with torch.no_grad():
        plain(images(size=size))
    backbone = Backbone(name, convention, size, **options)  # type: ignore[arg-type]
    backbone.load_state_dict(plain.state_dict())
    return backbone.requires_grad_(False)


def graphs(backbone: Backbone) -> int:
    """How many are in use now."""
    assert backbone._graph is not None
    return sum(graph is not None for graph in backbone._graph._graphs.values())


def plainly(backbone: Backbone, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Features without a graph."""
    with monkeypatch.context() as patch:
        patch.setattr(frozen_graph, "WORTH", 2**62)
        return backbone(pixels)  # type: ignore[no-any-return]


def exactly(backbone: Backbone, pixels: Tensor) -> Tensor:
    """Features in float64."""
    return copy.deepcopy(backbone).double()(pixels)  # type: ignore[no-any-return]


def as_near(got: Tensor, plain: Tensor, exact: Tensor) -> None:
    """Off the exact values by rounding alone: no more than the plain path is, give or take."""
    mine, theirs = (float((values.double() - exact).square().mean().sqrt()) for values in (got, plain))
    assert mine < 2 * theirs
    assert theirs < 1e-3 * float(exact.square().mean().sqrt())


def close_over_all(gradient: Tensor, exact: Tensor, share: float) -> None:
    """Rounding moves some feature across a corner of ReLU6, and with it a single gradient by much."""
    assert (gradient - exact).norm() < share * exact.norm()


def same(got: Tensor, backbone: Backbone, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the backbone gives for the pixels without a graph, to rounding."""
    as_near(got, plainly(backbone, pixels, monkeypatch), exactly(backbone, pixels))
