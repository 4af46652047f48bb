"""The frozen beginning of a network as one graph of oneDNN's: the same features and gradients, also after changes."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from graphed import BATCH, as_near, close_over_all, graphs, images, lived_in, needs_graphs, plainly, same
from torch import Tensor, nn
from torchvision.io import decode_image
from torchvision.transforms.v2.functional import resize

from lightning_tl import Phase, TransferClassifier

pytestmark = [needs_graphs, pytest.mark.usefixtures("small_batches_have_graphs")]


@pytest.mark.parametrize("size", [(64, 64), (65, 65), (64, 67), (80, 48)])
@pytest.mark.parametrize(
    ("name", "convention"),
    [
        ("torchvision/mobilenet_v2", "keras"),
        ("torchvision/mobilenet_v2", "torch"),
        ("timm/mobilenetv2_035", "keras"),
        ("timm/mobilenetv2_035", "torch"),
    ],
)
def test_features_are_the_plain_ones(
    name: str, convention: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At even sizes, where TensorFlow pads unevenly, at odd ones and at others."""
    backbone = lived_in(name, convention, size)
    got = backbone(images(size=size))
    assert graphs(backbone) == 1
    assert got.std(dim=0).max() > 0.1 * got.abs().max()
    same(got, backbone, images(size=size), monkeypatch)


@pytest.mark.parametrize("convention", ["keras", "torch"])
def test_pretrained_weights_on_photographs(assets: Path, convention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are as near to those of float64 as without a graph."""
    file = {"keras": "keras_mobilenet_v2_1.0_224_no_top.h5", "torch": "mobilenet_v2-b0353104.pth"}[convention]
    model = TransferClassifier(["a", "b"], weights=str(assets / "weights" / file))
    model.set_phase(Phase(name="finetune", epochs=1, lr=1e-5, unfreeze_last=20))
    backbone, photographs = model.backbone, sorted((assets / "data" / "flowers").glob("*/*.jpg"))[::100][:16]
    pixels = torch.stack([resize(decode_image(str(path)), [160, 160], antialias=True) for path in photographs])
    double = copy.deepcopy(backbone).double()
    features = [backbone(pixels), plainly(backbone, pixels, monkeypatch), double(pixels)]
    assert graphs(backbone) == 1
    as_near(*(values.detach() for values in features))
    gradients = [
        torch.autograd.grad(values.square().sum(), [p for p in network.parameters() if p.requires_grad])
        for values, network in zip(features, (backbone, backbone, double), strict=True)
    ]
    for mine, _, exact in zip(*gradients, strict=True):
        close_over_all(mine, exact, 2e-3)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("timm/resnet18", 1),
        ("timm/efficientnet_b0", 1),
        ("timm/tf_efficientnet_lite0", 1),
        ("timm/mobilenetv3_small_100", 1),
        ("timm/densenet121", 1),
        ("timm/vit_tiny_patch16_224", 0),
        ("timm/convnext_atto", 0),
    ],
)
def test_other_networks_have_one_where_convolutions_are_folded(
    name: str, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = lived_in(name, "torch")
    got = backbone(images())
    assert graphs(backbone) == made
    same(got, backbone, images(), monkeypatch)


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/mobilenetv2_100"])
@pytest.mark.parametrize("count", [1, 20, 22, 64, 140, "all"])
def test_what_trains_has_the_plain_gradients(name: str, count: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the boundary lies, also inside a block and before a BatchNorm; and when validation came first."""
    backbone = lived_in(name)
    names = backbone.unfreeze_last(count)
    with torch.no_grad():
        backbone(images())
    parameters = [dict(backbone.named_parameters())[name] for name in names]

    def gradients(features: Tensor, parameters: list[nn.Parameter]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(features.square().sum(), parameters) if parameters else ()

    got = gradients(backbone(images()), parameters)
    assert graphs(backbone) == (count != "all")
    plain = gradients(plainly(backbone, images(), monkeypatch), parameters)
    double = copy.deepcopy(backbone).double()
    exact = gradients(double(images()), [dict(double.named_parameters())[name] for name in names])
    for mine, theirs, true in zip(got, plain, exact, strict=True):
        close_over_all(mine, true, 0.03)
        close_over_all(theirs, true, 0.03)  # random weights make that of rounding


def test_a_graph_is_made_anew_when_weights_or_what_trains_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    before = backbone(images())
    assert torch.equal(backbone(images()), before)
    with torch.no_grad():
        backbone.net.features[0][0].weight.mul_(1.5)  # type: ignore[index, union-attr]
    after = backbone(images())
    assert (after - before).abs().max() > 0.01 * before.abs().max()
    same(after, backbone, images(), monkeypatch)
    backbone.net.features[0][1].eps = 0.1  # type: ignore[index, union-attr]
    same(backbone(images()), backbone, images(), monkeypatch)
    backbone.net.features[0][1].eps = 1e-3  # type: ignore[index, union-attr]
    backbone.load_state_dict(lived_in("torchvision/mobilenet_v2").state_dict())
    assert torch.equal(backbone(images()), before)
    backbone.net.features[1] = nn.Conv2d(32, 16, 1).requires_grad_(False)  # type: ignore[index, operator]
    after = backbone(images())
    assert (after - before).abs().max() > 0.01 * before.abs().max()
    same(after, backbone, images(), monkeypatch)


def test_what_trains_is_never_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of an optimizer, with an evaluation between them."""
    backbone = lived_in("torchvision/mobilenet_v2")
    backbone.unfreeze_last(20)
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        backbone(images()).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.inference_mode():
            same(backbone(images()), backbone, images(), monkeypatch)
    assert graphs(backbone) == 1


def test_a_graph_made_in_evaluation_serves_training() -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    backbone.unfreeze_last(20)
    with torch.inference_mode():
        backbone(images())
    backbone(images()).sum().backward()
    assert graphs(backbone) == 1


def test_hooks_see_every_image_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    wanted, before, after = backbone(images()), [], []
    block: Any = backbone.net.features[3]  # type: ignore[index]
    handles = [
        block.register_forward_hook(lambda module, args, output: after.append(output)),
        block.register_forward_pre_hook(lambda module, args, kwargs: before.append(args[0]), with_kwargs=True),
    ]
    got = backbone(images())
    assert graphs(backbone) == 1
    assert [len(tensor) for tensor in (*before, *after)] == [BATCH, BATCH], "not the images on which a graph is made"
    same(got, backbone, images(), monkeypatch)
    for handle in handles:
        handle.remove()
    count = len(after)
    assert torch.equal(backbone(images()), wanted)
    assert len(after) == count


def test_a_parametrized_convolution_may_be_among_the_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lived_in("timm/resnet18", "torch")
    nn.utils.parametrizations.weight_norm(backbone.net.layer2[0].conv1)  # type: ignore[index, union-attr, arg-type]
    backbone.requires_grad_(False)
    same(backbone(images()), backbone, images(), monkeypatch)
    assert graphs(backbone) == 1


def test_weights_written_through_data_are_used_once_the_others_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    old = backbone(images())
    backbone.net.features[2].conv[0][0].weight.data.mul_(1.5)  # type: ignore[index, union-attr, operator]
    backbone.forget()
    new = backbone(images())
    assert not torch.allclose(new, old, rtol=0.01)
    same(new, backbone, images(), monkeypatch)


def test_weights_that_were_rounded_are_the_ones_used(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    old = backbone(images())
    backbone.bfloat16().float()
    new = backbone(images())
    assert not torch.allclose(new, old, rtol=1e-4)
    same(new, backbone, images(), monkeypatch)


def test_sums_of_sums_have_none() -> None:
    """OneDNN would end the process with a segmentation fault."""
    backbone = lived_in("timm/repvit_m0_9", "torch")
    got = backbone(images())
    assert graphs(backbone) == 0
    assert got.isfinite().all()


def test_attention_biases_get_their_gradient_in_the_step_that_makes_a_graph() -> None:
    """Timm keeps what it has made of them, also where nothing was to train."""
    size = (96, 96)
    backbone = lived_in("timm/levit_128s", "torch", size)
    names = backbone.unfreeze_last(len(backbone.layers()) // 3)
    backbone(images(size=size)).square().sum().backward()
    assert graphs(backbone) == 1
    parameters = dict(backbone.named_parameters())
    assert any(name.endswith("attention_biases") for name in names)
    assert [name for name in names if parameters[name].grad is None] == []
