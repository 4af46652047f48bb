"""Frozen blocks in oneDNN's layout: the same features, and plain tensors wherever anything else takes them."""

import copy
from typing import Any

import pytest
import torch
from graphed import needs_bfloat16
from torch import Tensor, nn

from lightning_tl import folding, frozen_blocks
from lightning_tl.backbone import Backbone
from lightning_tl.batchnorm import hold_statistics
from lightning_tl.blocked import conv2d_blocked
from lightning_tl.foldable import find_pairs
from lightning_tl.frozen_blocks import FrozenBlocks, find_blocks

SIZE = (64, 64)
CONVOLUTIONS = {
    ("torchvision/mobilenet_v2", "keras"): 52,
    ("torchvision/mobilenet_v2", "torch"): 52,
    ("timm/mobilenetv2_035", "keras"): 50,
    ("timm/efficientnet_lite0", "torch"): 47,
    ("timm/resnet10t", "torch"): 0,
    ("timm/vit_tiny_patch16_224", "torch"): 0,
}
"""In that layout when all is frozen; timm's first and last convolutions are outside its blocks."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sizes of the kernels of convolutions that were computed in that layout."""
    found: list[tuple[int, ...]] = []
    compute = conv2d_blocked

    def noted(x: Tensor, weight: Tensor, *rest: object) -> Tensor:
        found.append(tuple(weight.shape))
        return compute(x, weight, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(folding, "conv2d_blocked", noted)
    return found


def images(count: int = 2) -> Tensor:
    return torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def lived_in(name: str, convention: str = "torch") -> Backbone:
    """A backbone whose moving statistics are those of no fresh network."""
    torch.manual_seed(0)
    backbone = Backbone(name, convention, SIZE)  # type: ignore[arg-type]
    with torch.no_grad():
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return backbone


def plainly(backbone: Backbone, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Features without that layout."""
    with monkeypatch.context() as patch:
        patch.setattr(frozen_blocks.Block, "computes_in", lambda self, x: None)
        return backbone(pixels)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("name", "convention"), CONVOLUTIONS)
@pytest.mark.parametrize("mixed", [False, pytest.param(True, marks=needs_bfloat16)])
def test_features_are_the_plain_ones(
    name: str, convention: str, mixed: bool, calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 to rounding; in bfloat16 as near to float32 as without."""
    backbone = lived_in(name, convention).requires_grad_(False)
    exact = plainly(backbone, images(), monkeypatch)
    calls.clear()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        wanted = plainly(backbone, images(), monkeypatch)
        assert not calls
        got = backbone(images())
    assert len(calls) == CONVOLUTIONS[name, convention]
    assert not got.is_mkldnn
    assert got.dtype == wanted.dtype
    if mixed:
        strayed, plainly_so = ((features.double() - exact).square().mean().sqrt() for features in (got, wanted))
        assert float(strayed) < 1.5 * float(plainly_so)
    else:
        torch.testing.assert_close(got, exact, rtol=0, atol=1e-5 * float(exact.abs().max()))


@pytest.mark.parametrize(("name", "outside"), [("torchvision/mobilenet_v2", 7), ("timm/mobilenetv2_100", 8)])
def test_what_trains_gets_plain_feature_maps_and_the_plain_gradients(
    name: str, outside: int, calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras' last 20 layers have seven convolutions; timm has the first of all outside its blocks, too."""
    backbone = lived_in(name)
    names = backbone.unfreeze_last(20)
    parameters = [dict(backbone.named_parameters())[name] for name in names]
    calls.clear()
    got = torch.autograd.grad(backbone(images()).square().sum(), parameters)
    assert len(calls) == 52 - outside
    wanted = torch.autograd.grad(plainly(backbone, images(), monkeypatch).square().sum(), parameters)
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/mobilenetv2_035"])
def test_unfreezing_any_number_of_layers_works(name: str) -> None:
    """Wherever the boundary lies, also inside a block."""
    backbone = lived_in(name)
    with torch.no_grad():
        wanted = backbone(images())
    for count in (1, 5, 23, 29, 64, 100, 150, "all"):
        backbone.unfreeze_last(count)
        features = backbone(images())
        torch.testing.assert_close(features, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))
        if any(parameter.requires_grad for parameter in backbone.parameters()):
            features.sum().backward()


def test_hooks_are_given_plain_tensors() -> None:
    backbone = lived_in("torchvision/mobilenet_v2").requires_grad_(False)
    wanted, seen = backbone(images()), []
    block: Any = backbone.net.features[3]  # type: ignore[index]
    handle = block.register_forward_hook(lambda module, args, output: seen.extend([*args, output]))
    torch.testing.assert_close(backbone(images()), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert [tensor.is_mkldnn for tensor in seen] == [False, False]
    handle.remove()
    assert torch.equal(backbone(images()), wanted)


def test_a_copy_has_blocks_of_its_own(calls: list[tuple[int, ...]]) -> None:
    """Training the one does not leave the other with folded weights of before."""
    backbone = lived_in("torchvision/mobilenet_v2").requires_grad_(False)
    other = copy.deepcopy(backbone)
    with torch.no_grad():
        other.net.features[0][0].weight.mul_(2)  # type: ignore[index, union-attr]
    other.unfreeze_last(20)
    calls.clear()
    assert not torch.equal(other(images()), backbone(images()))
    assert len(calls) == 52 - 7 + 52


def test_the_state_dict_knows_nothing_of_it() -> None:
    backbone = lived_in("torchvision/mobilenet_v2").requires_grad_(False)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(images())
    after = backbone.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) and not after[name].is_mkldnn for name, value in before.items())


class Affine(nn.Module):
    """A convolution, and something else that no module does."""

    def __init__(self, supported: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.supported = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), supported

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)) + x
        return x if self.supported else nn.functional.hardswish(x)


@pytest.mark.parametrize("supported", [True, False])
def test_a_block_that_does_what_the_layout_lacks_stays_as_it_is(supported: bool) -> None:
    net = nn.Sequential(Affine(True), Affine(supported))
    hold_statistics(net)
    net.train(False).requires_grad_(False)
    pairs = find_pairs(net, net, (8, 8))

    def features(image: Tensor) -> Tensor:
        folding.fold_frozen(pairs, gradients=False)
        return net(image)  # type: ignore[no-any-return]

    find_blocks(net, pairs, features, (8, 8))
    assert (type(net) is FrozenBlocks) == supported
    assert features(torch.randn(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_a_network_without_such_blocks_may_give_what_it_likes() -> None:
    """Some of timm's give a list of feature maps."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1))
    find_blocks(net, (), lambda image: [net(image), image], (8, 8))  # type: ignore[arg-type, return-value]
    assert type(net) is nn.Sequential
