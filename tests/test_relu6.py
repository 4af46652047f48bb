"""A convolution that clips what it writes computes what convolution and ReLU6 do one after the other."""

import copy

import pytest
import torch
import torch.nn.functional as F
from graphed import needs_bfloat16
from torch import Tensor, nn

from lightning_tl import relu6
from lightning_tl.backbone import Backbone
from lightning_tl.batchnorm import hold_statistics
from lightning_tl.foldable import find_pairs
from lightning_tl.relu6 import InnerReLU6, conv2d_relu6

EPSILON = {torch.float32: 5e-6, torch.float64: 1e-15, torch.bfloat16: 2**-7}
"""Of the largest value, 6: bfloat16 has 8 bits; float32 sums of 72 products lose some in any order."""


def operands(dtype: torch.dtype, groups: int, kernel: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 8, 9, 10, generator=generator) * 4
    weight = torch.randn(8, 8 // groups, kernel, kernel, generator=generator)
    return image.to(dtype), weight.to(dtype), torch.randn(8, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize(
    ("groups", "kernel", "stride", "padding"), [(1, 1, 1, 0), (8, 3, 1, 1), (8, 3, 2, 1), (1, 3, 2, 0)]
)
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_values(
    dtype: torch.dtype, groups: int, kernel: int, stride: int, padding: int, memory_format: torch.memory_format
) -> None:
    image, weight, bias = operands(dtype, groups, kernel)
    image, weight = image.to(memory_format=memory_format), weight.to(memory_format=memory_format)
    arguments = ((stride, stride), (padding, padding), (1, 1), groups)
    wanted = F.relu6(F.conv2d(image.double(), weight.double(), bias.double(), *arguments))
    got = conv2d_relu6(image, weight, bias, *arguments)
    assert got.dtype == dtype
    assert 0 < float((wanted == 6).float().mean()) < 1  # clipped here and not there
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=6 * EPSILON[dtype])


@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")  # what the flag sets beside it
def test_float32_on_a_cpu_takes_one_pass() -> None:
    """What docs/benchmark.md measures; autocast has it in bfloat16 where the processor computes in that."""
    image, weight, _ = operands(torch.float32, 8, 3)
    assert relu6.in_one_pass(image, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not relu6.in_one_pass(image, weight)  # weights of another type than it computes in
        offered = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert relu6.in_one_pass(image, weight.bfloat16()) == offered
    with torch.backends.mkldnn.flags(enabled=False):
        assert not relu6.in_one_pass(image, weight)


def test_gradients_pass() -> None:
    """To the image, as where earlier layers train, and to weights."""
    image, weight, bias = operands(torch.float32, 8, 3)
    arguments = ((1, 1), (1, 1), (1, 1), 8)
    for leaf in (image, weight):
        leaf.requires_grad_()
        for function in (conv2d_relu6, lambda *given: F.relu6(F.conv2d(*given))):
            (gradient,) = torch.autograd.grad(function(image, weight, bias, *arguments).square().sum(), leaf)
            wanted = gradient if function is conv2d_relu6 else wanted  # type: ignore[has-type]  # noqa: F821
            torch.testing.assert_close(gradient, wanted)
        leaf.requires_grad_(False)


@pytest.mark.parametrize(
    ("name", "count"), [("torchvision/mobilenet_v2", 35), ("timm/mobilenetv2_035", 35), ("timm/resnet10t", 0)]
)
def test_every_relu6_of_a_mobilenet_is_inside(name: str, count: int) -> None:
    """One after the first convolution, one in the first block, two in each of the other 16, one after the last."""
    backbone = Backbone(name, "torch", (64, 64)).requires_grad_(False)
    image = torch.rand(1, 3, 64, 64) * 255
    inside = [module for module in backbone.modules() if isinstance(module, InnerReLU6)]
    features = backbone(image)
    assert sum(module.inside for module in inside) == len(inside) == count
    backbone.requires_grad_(True)
    torch.testing.assert_close(backbone(image), features, rtol=1e-4, atol=1e-5)
    assert not any(module.inside for module in inside)


def test_a_frozen_end_lets_the_gradient_of_its_beginning_through() -> None:
    """First layers that train before folded ones get the gradient of the plain network.

    Of one draw: in one of 40 a value lies so near a corner of ReLU6 that rounding gives it the other side's gradient.
    """
    torch.manual_seed(0)
    ours = Backbone("timm/mobilenetv2_035", "torch", (64, 64))
    plain = Backbone("timm/mobilenetv2_035", "torch", (64, 64), fold_batchnorm=False)
    plain.load_state_dict(ours.state_dict())
    image = torch.rand(2, 3, 64, 64) * 255
    gradients = []
    for backbone in (ours, plain):
        backbone.requires_grad_(False)
        backbone.net.conv_stem.weight.requires_grad_()  # type: ignore[union-attr, operator]
        features = backbone(image)
        gradients.append(torch.autograd.grad(features.square().sum(), backbone.net.conv_stem.weight)[0])  # type: ignore[union-attr, arg-type]
    assert float(gradients[1].abs().max()) > 0
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4 * float(gradients[1].abs().max()))


@needs_bfloat16
def test_autocast_computes_from_weights_of_its_own_type() -> None:
    """Made once for it, not cast at every step; and leaving it gives float32 again."""
    backbone = Backbone("timm/mobilenetv2_035", "torch", (64, 64)).requires_grad_(False)
    plain = Backbone("timm/mobilenetv2_035", "torch", (64, 64), fold_batchnorm=False).requires_grad_(False)
    plain.load_state_dict(backbone.state_dict())
    image = torch.rand(2, 3, 64, 64) * 255
    full = backbone(image)
    with torch.autocast("cpu", torch.bfloat16):
        half, wanted = backbone(image), plain(image)
        assert {module.folded.weight.dtype for module in backbone.modules() if getattr(module, "folded", None)} == {
            torch.bfloat16
        }
        assert {module.folded.bias.dtype for module in backbone.modules() if getattr(module, "folded", None)} == {
            torch.float32
        }
    assert half.dtype == wanted.dtype
    strayed = (wanted.double() - full).abs().max()  # what bfloat16 costs without any of this
    assert float((half.double() - full).abs().max()) < 1.5 * float(strayed)
    assert torch.equal(backbone(image), full)


class Twice(nn.Module):
    """One ReLU6 called in two places, of which one has no convolution before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU6()

    def forward(self, images: Tensor) -> Tensor:
        return self.act(self.act(self.norm(self.conv(images))) - 1)  # type: ignore[no-any-return]


def test_a_relu6_called_twice_keeps_its_work() -> None:
    net = Twice()
    hold_statistics(net)
    net.train(False).requires_grad_(False)
    plain = copy.deepcopy(net)
    (pair,) = find_pairs(net, net, (8, 8))
    assert pair.relu6 is None
    assert type(net.act) is nn.ReLU6
    image = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(net(image), plain(image))


def test_where_a_gradient_is_to_pass_it_is_not_in_place() -> None:
    """Torch would copy what was there, which the backward pass needs."""
    image = torch.linspace(-2, 8, 11).requires_grad_()
    before = image * 1
    after = InnerReLU6(inplace=True)(before)
    assert after.data_ptr() != before.data_ptr()
    after.sum().backward()
    assert torch.equal(image.grad, ((image > 0) & (image < 6)).float())  # type: ignore[arg-type]
    with torch.no_grad():
        assert InnerReLU6(inplace=True)(before).data_ptr() == before.data_ptr()
