"""BatchNorm folded into frozen convolutions: the same numbers, for as long as nothing of them trains.

Nor is anything folded that others have changed or watch, or that is no number.
"""

import copy
from typing import Any

import pytest
import torch
from lightning.pytorch.profilers.pytorch import RegisterRecordFunction
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, weight_norm

from lightning_tl.backbone import Backbone
from lightning_tl.batchnorm import hold_statistics
from lightning_tl.foldable import find_pairs
from lightning_tl.optim import KerasAdam

SIZE = (64, 64)
PAIRS = {
    "torchvision/mobilenet_v2": 52,
    "timm/mobilenetv2_035": 52,
    "timm/resnet10t": 14,
    "timm/efficientnet_lite0": 49,
    "timm/resnetv2_50": 32,
    "timm/vit_tiny_patch16_224": 0,
}
"""Of resnetv2_50's 49 BatchNorms 17 take sums or have their convolution's output used elsewhere too."""


def lived_in(name: str, **options: Any) -> Backbone:
    """A backbone whose moving statistics are those of no fresh network."""
    backbone = Backbone(name, "torch", SIZE, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return backbone


def images(count: int = 2) -> Tensor:
    return torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def folded(backbone: Backbone) -> int:
    return sum(getattr(module, "folded", None) is not None for module in backbone.modules())


def joined(backbone: Backbone) -> int:
    return sum(bool(getattr(module, "joined", ())) for module in backbone.modules())


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-13)])
def test_folded_features_are_the_plain_ones(name: str, dtype: torch.dtype, tolerance: float) -> None:
    """In float64 to rounding. In float32 as far as random networks stray from their float64 selves, folded or not."""
    ours, plain = lived_in(name).to(dtype), lived_in(name, fold_batchnorm=False).to(dtype)
    plain.load_state_dict(ours.state_dict())
    for backbone in (ours, plain):
        backbone.unfreeze_last(0)
    got, wanted = ours(images()), plain(images())
    assert folded(ours) == PAIRS[name]
    assert folded(plain) == 0
    assert got.dtype == dtype
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/mobilenetv2_035", "timm/resnet10t"])
@pytest.mark.parametrize("count", [20, 22, "all"])
def test_what_trains_is_joined_instead_and_gets_the_plain_gradients(name: str, count: Any) -> None:
    """Also where the convolution is frozen and its BatchNorm trains."""
    ours, plain = lived_in(name).double(), lived_in(name, fold_batchnorm=False)
    plain.double().load_state_dict(ours.state_dict())
    gradients = []
    for backbone in (ours, plain):
        trained = backbone.unfreeze_last(count)
        backbone(images()).square().sum().backward()
        gradients.append({name: p.grad for name, p in backbone.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == set(trained)
    assert folded(ours) + joined(ours) == PAIRS[name]
    assert joined(ours) > 0
    assert joined(plain) == 0
    for name, gradient in gradients[0].items():
        wanted = gradients[1][name]
        assert gradient is not None
        assert wanted is not None
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-11 * float(wanted.abs().max()))


def test_what_trains_in_bfloat16_is_neither() -> None:
    """The product of a kernel and a scale would be rounded, rather than the kernel."""
    ours, plain = lived_in("timm/mobilenetv2_035"), lived_in("timm/mobilenetv2_035", fold_batchnorm=False)
    plain.load_state_dict(ours.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        ours.unfreeze_last("all")
        plain.unfreeze_last("all")
        assert torch.equal(ours(images()), plain(images()))
    assert joined(ours) == folded(ours) == 0
    ours(images())
    assert joined(ours) == 52


def test_without_gradients_everything_is_folded() -> None:
    """So what is evaluated in a phase is what its checkpoint computes."""
    backbone, loaded = lived_in("timm/mobilenetv2_035"), lived_in("timm/mobilenetv2_035")
    backbone.unfreeze_last(20)
    loaded.load_state_dict(backbone.state_dict())
    loaded.unfreeze_last(0)
    backbone(images())
    with torch.inference_mode():
        assert torch.equal(backbone(images()), loaded(images()))
        assert folded(backbone) == 52
    backbone(images()).sum().backward()
    assert folded(backbone) == 52 - 7


def changes() -> dict[str, Any]:
    def load(backbone: Backbone) -> None:
        other = {name: t * 1.5 if t.is_floating_point() else t for name, t in backbone.state_dict().items()}
        backbone.load_state_dict(other)

    def write(backbone: Backbone) -> None:
        with torch.no_grad():
            next(backbone.parameters()).mul_(2)

    def statistics(backbone: Backbone) -> None:
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.add_(1)  # type: ignore[union-attr, operator]

    def constant(backbone: Backbone) -> None:
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.1

    return {f.__name__: f for f in (load, write, statistics, constant)}


@pytest.mark.parametrize("change", changes())
def test_folded_weights_follow_every_change(change: str) -> None:
    ours, plain = lived_in("timm/resnet10t"), lived_in("timm/resnet10t", fold_batchnorm=False)
    plain.load_state_dict(ours.state_dict())
    results = []
    for backbone in (ours, plain):
        backbone.unfreeze_last(0)
        before = backbone(images())
        changes()[change](backbone)
        results.append(backbone(images()))
        assert not torch.allclose(results[-1], before, rtol=1e-3)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_nothing_outside_knows_of_it() -> None:
    """State dict, parameters and buffers are those of the plain network; copies fold for themselves."""
    ours, plain = lived_in("timm/mobilenetv2_035"), lived_in("timm/mobilenetv2_035", fold_batchnorm=False)
    ours.unfreeze_last(0)
    wanted = ours(images())
    for what in ("state_dict", "named_parameters", "named_buffers"):
        names = [list(dict(getattr(backbone, what)())) for backbone in (ours, plain)]
        assert names[0] == names[1]
    twin = copy.deepcopy(ours)
    torch.testing.assert_close(twin(images()), wanted, rtol=0, atol=0)
    with torch.no_grad():
        next(twin.parameters()).zero_()
    assert not torch.allclose(twin(images()), wanted)
    torch.testing.assert_close(ours(images()), wanted, rtol=0, atol=0)


class Adapted(nn.Module):
    """A frozen convolution and something small beside it that trains, as adapters are added."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base, self.beside = base, nn.Conv2d(base.in_channels, base.out_channels, 1)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.beside(x)  # type: ignore[no-any-return]


def adapt(backbone: Backbone) -> None:
    torch.manual_seed(3)
    block = backbone.net.layer1[0]  # type: ignore[index]
    block.conv1 = Adapted(block.conv1)  # type: ignore[union-attr, arg-type]


def normalise(backbone: Backbone) -> None:
    parametrizations.weight_norm(backbone.net.layer1[0].conv1)  # type: ignore[index, union-attr, arg-type]


@pytest.mark.parametrize("change", [adapt, normalise])
def test_a_convolution_that_others_have_changed_is_left_to_them(change: Any) -> None:
    """After it was folded, and with what they have added training."""
    ours, plain = lived_in("timm/resnet10t").double(), lived_in("timm/resnet10t", fold_batchnorm=False)
    plain.double().load_state_dict(ours.state_dict())
    results, gradients = [], []
    for backbone in (ours, plain):
        backbone.unfreeze_last(0)
        backbone(images())
        change(backbone.double())
        backbone.double()
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_("beside" in name or "parametrizations" in name)
        with torch.no_grad():
            results.append(backbone(images()))
        backbone(images()).square().sum().backward()
        gradients.append([p.grad for p in backbone.parameters() if p.requires_grad])
    assert folded(ours) == PAIRS["timm/resnet10t"] - 1
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    assert len(gradients[0]) == 2
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def pruned(backbone: Backbone) -> None:
    conv = backbone.net.layer1[0].conv1  # type: ignore[index, union-attr]
    mask = torch.rand(conv.weight.shape, generator=torch.Generator().manual_seed(3)) < 0.5  # type: ignore[union-attr, arg-type]
    prune.custom_from_mask(conv, "weight", mask)  # type: ignore[arg-type]


def old_weight_norm(backbone: Backbone) -> None:
    weight_norm(backbone.net.layer1[0].conv1)  # type: ignore[index, union-attr, arg-type]


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("change", [pruned, old_weight_norm, normalise])
def test_weights_made_as_a_layer_is_called_are_those_of_now(change: Any) -> None:
    """After each step of an optimizer, and of a checkpoint."""
    ours, plain = lived_in("timm/resnet10t").double(), lived_in("timm/resnet10t", fold_batchnorm=False).double()
    plain.load_state_dict(ours.state_dict())
    results: list[list[Tensor]] = []
    for backbone in (ours, plain):
        backbone.unfreeze_last("all")
        change(backbone)
        backbone.double()
        seen = []
        optimizer = torch.optim.SGD(backbone.parameters(), lr=1e-3)
        for _ in range(2):
            loss = backbone(images()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                seen += [loss, backbone(images())]
        backbone.load_state_dict({name: tensor * 1.1 for name, tensor in backbone.state_dict().items()})
        with torch.no_grad():
            seen.append(backbone(images()))
        results.append(seen)
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gradients", [False, True])
def test_hooks_see_what_each_layer_gives(gradients: bool) -> None:
    ours, plain = (lived_in("timm/mobilenetv2_035", fold_batchnorm=fold).double() for fold in (True, False))
    plain.load_state_dict(ours.state_dict())
    seen: list[list[Tensor]] = []
    for backbone in (ours, plain):
        backbone.unfreeze_last("all" if gradients else 0)
        backbone(images())
        given: list[Tensor] = []
        block = backbone.net.blocks[3][1]  # type: ignore[index]
        layers = (block.conv_pw, block.bn2, block.conv_pwl, block.bn3)  # type: ignore[union-attr]
        handles = [layer.register_forward_hook(lambda _, x, y, to=given: to.extend([*x, y])) for layer in layers]  # type: ignore[union-attr]
        backbone(images())
        for handle in handles:
            handle.remove()
        backbone(images())
        assert len(given) == 8
        seen.append(given)
    assert folded(ours) + joined(ours) == 52
    torch.testing.assert_close(*seen, rtol=1e-9, atol=1e-12)


def test_a_profiler_sees_what_trains() -> None:
    """Lightning's has hooks on every module, which take the time alone."""
    backbone = lived_in("timm/mobilenetv2_035")
    backbone.unfreeze_last(0)
    with RegisterRecordFunction(backbone):
        backbone(images())
        assert folded(backbone) == 52


def test_a_weight_that_is_no_parameter_ends_no_epoch() -> None:
    """A ``StopIteration`` would, without a word."""
    ours, plain = (lived_in("timm/mobilenetv2_035", fold_batchnorm=fold).double() for fold in (True, False))
    plain.load_state_dict(ours.state_dict())
    for backbone in (ours, plain):
        backbone.unfreeze_last(0)
        conv = backbone.net.conv_stem
        weight = conv.weight.detach()  # type: ignore[operator, union-attr]
        del conv.weight  # type: ignore[union-attr]
        conv.register_buffer("weight", weight)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(ours(images()), plain(images()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["pixel", "kernel", "shift", "variance"])
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("count", [2, 8])
def test_what_is_no_number_shows(
    number: float, place: str, bfloat16: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that has diverged is not to look healthy: oneDNN's ReLU6 makes a number of NaN. 8 images have a graph."""
    monkeypatch.setattr("lightning_tl.frozen_graph.WORTH", 1)
    ours, plain = lived_in("torchvision/mobilenet_v2"), lived_in("torchvision/mobilenet_v2", fold_batchnorm=False)
    plain.load_state_dict(ours.state_dict())
    given = images(count).float()
    found = []
    for backbone in (ours, plain):
        backbone.unfreeze_last(0)
        backbone(given)
        conv, norm, _ = backbone.net.features[3].conv[1]  # type: ignore[index, union-attr, misc]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            healthy = backbone(given)
            to = {"pixel": given, "kernel": conv.weight, "shift": norm.bias, "variance": norm.running_var}[place]  # type: ignore[union-attr]
            before = to.flatten()[7].item()
            to.view(-1)[7] = number
            found.append(backbone(given).isfinite())
            to.view(-1)[7] = before
            assert torch.equal(backbone(given), healthy)
    assert torch.equal(*found)
    assert folded(ours) == 52


class Shared(nn.Module):
    """A convolution whose output a BatchNorm and a sum use."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        once = self.conv(images)
        return self.norm(once) + once  # type: ignore[no-any-return]


def test_an_output_that_others_use_too_is_left_alone() -> None:
    net = Shared()
    hold_statistics(net)
    net.train(False)
    assert find_pairs(net, net, (8, 8)) == ()
    assert type(net.conv) is nn.Conv2d
    assert torch.equal(net.norm.running_mean, torch.zeros(4))  # type: ignore[arg-type]


def test_weights_that_an_optimizer_changed_are_folded_anew_whoever_looked_before() -> None:
    """As a callback before the step does: the folded weights that it leaves are of before."""
    backbone = lived_in("timm/mobilenetv2_035")
    backbone.unfreeze_last(20)
    optimizer = KerasAdam([p for p in backbone.parameters() if p.requires_grad], 0.1)
    backbone(images()).square().sum().backward()
    with torch.no_grad():
        before = backbone(images())
    optimizer.step()
    with torch.no_grad():
        after = backbone(images())
    backbone.forget()
    with torch.no_grad():
        assert torch.equal(after, backbone(images()))
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("name", ["timm/mobileone_s0", "timm/repghostnet_050", "timm/efficientvim_m1"])
def test_norms_behind_norms_and_features_that_are_no_tensor(name: str) -> None:
    ours, plain = (Backbone(name, "torch", SIZE, fold_batchnorm=fold) for fold in (True, False))
    plain.load_state_dict(ours.state_dict())
    wanted = plain(images())
    torch.testing.assert_close(ours(images()), wanted, rtol=0, atol=2e-5 * float(wanted.detach().abs().max()))
