"""The frozen beginning of a network as one graph of oneDNN's: the same features and gradients, wherever it is used."""

import copy
import gc
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.io import decode_image
from torchvision.transforms.v2.functional import resize

from lightning_tl import Phase, TransferClassifier, frozen_graph
from lightning_tl.backbone import Backbone
from lightning_tl.batchnorm import hold_statistics
from lightning_tl.foldable import find_pairs
from lightning_tl.folding import fold_frozen
from lightning_tl.frozen_graph import FrozenGraph

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not hasattr(torch.jit, "enable_onednn_fusion"),  # type: ignore[no-untyped-call]
    reason="this torch has no oneDNN graphs",
)
BATCH, SIZE = 8, (64, 64)


@pytest.fixture(autouse=True)
def small_batches_have_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_graph, "WORTH", BATCH * 33 * 33)


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


def test_hooks_see_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    wanted, seen = backbone(images()), []
    block: Any = backbone.net.features[3]  # type: ignore[index]
    handle = block.register_forward_hook(lambda module, args, output: seen.append(output))
    same(backbone(images()), backbone, images(), monkeypatch)
    few, all_of_them = [1, frozen_graph.FEW], [BATCH] * (len(seen) - 2)  # a graph is looked for, and proven, on few
    assert sorted(tensor.shape[0] for tensor in seen) == few + all_of_them
    handle.remove()
    count = len(seen)
    assert torch.equal(backbone(images()), wanted)
    assert len(seen) == count


@pytest.mark.parametrize("count", [1, 7, 9])
def test_batches_that_come_once_have_none(count: int) -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    backbone(images(count))
    assert graphs(backbone) == 0


def test_neither_have_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_graph, "WORTH", BATCH * 64 * 64 + 1)
    backbone = lived_in("torchvision/mobilenet_v2")
    backbone(images())
    assert graphs(backbone) == 0
    backbone(images(2 * BATCH))
    assert graphs(backbone) == 1


def test_features_do_not_depend_on_what_came_before() -> None:
    """So that a run that is resumed computes, bit for bit, what it would have."""
    first, second = lived_in("torchvision/mobilenet_v2"), lived_in("torchvision/mobilenet_v2")
    for count in (5, 16, 1, 8):
        first(images(count))
    assert torch.equal(first(images(16)), second(images(16)))


def test_only_those_used_last_are_kept() -> None:
    backbone = lived_in("timm/mobilenetv2_035", size=(48, 48))
    assert backbone._graph is not None
    for count in range(8, 8 * (frozen_graph.GRAPHS_KEPT + 3), 8):
        backbone(images(count, (48, 48)))
        backbone(images(8, (48, 48)))
    kept = [shape[0] for shape, _ in backbone._graph._graphs]
    assert kept == [*sorted(kept[:-1]), 8]
    assert graphs(backbone) == len(kept) == frozen_graph.GRAPHS_KEPT


def test_memory_of_graphs_that_are_forgotten_is_given_back() -> None:
    """torch.jit.trace would keep the weights of each, 100 MB and more, until the process ends."""
    backbone, grown = lived_in("timm/resnet50", "torch"), []
    for _ in range(5):
        with torch.no_grad():
            backbone.net.conv1.weight.mul_(1.0)  # type: ignore[union-attr, operator]
            backbone(images())
        assert graphs(backbone) == 1
        gc.collect()
        grown.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20)
    assert grown[-1] - grown[1] < 3 * 50


def test_threads_may_share_a_backbone() -> None:
    """As those of a server; while one has modules bypassed, the other waits."""
    backbone = lived_in("torchvision/mobilenet_v2")
    batches = [images(count) for count in (8, 1, 16, 3)] * 5
    with torch.inference_mode():
        wanted = [backbone(batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(torch.inference_mode()(backbone), batches))
    assert all(torch.equal(*pair) for pair in zip(got, wanted, strict=True))


def test_what_oneDNN_has_no_graph_for_is_computed_plainly() -> None:  # noqa: N802
    """Autocast, other types, and gradients of the pixels."""
    backbone = lived_in("torchvision/mobilenet_v2")
    with torch.autocast("cpu", torch.bfloat16):
        backbone(images())
    pixels = images().float().requires_grad_(True)
    backbone(pixels).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().max() > 0
    assert graphs(backbone) == 0
    double = backbone.double()
    assert double(images()).dtype == torch.float64
    assert graphs(double) == 0


def test_without_folding_there_is_none() -> None:
    assert lived_in("torchvision/mobilenet_v2", fold_batchnorm=False)._graph is None


class Shortcut(nn.Module):
    """Its first module's output is used twice, which the order of modules does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x) + x  # type: ignore[no-any-return]


def test_a_network_that_is_no_chain_is_computed_plainly() -> None:
    net = Shortcut()
    hold_statistics(net)
    net.requires_grad_(False).eval()
    pairs = find_pairs(net, net, SIZE)
    fold_frozen(pairs, gradients=False)
    assert len(pairs) == 2
    graph, pixels = FrozenGraph(net), images() / 255
    assert torch.equal(graph(pixels, net), net(pixels))
    assert list(graph._graphs.values()) == [None]


def test_copies_have_graphs_of_their_own_and_files_none() -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    wanted = backbone(images())
    for other in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert graphs(other) == 0
        assert torch.equal(other(images()), wanted)
        with torch.no_grad():
            other.net.features[0][0].weight.mul_(2)
        assert not torch.equal(other(images()), wanted)
        assert other.state_dict().keys() == backbone.state_dict().keys()
    assert torch.equal(backbone(images()), wanted)


def test_torch_is_left_as_it_was_and_nothing_is_said() -> None:
    before = torch.jit.onednn_fusion_enabled()  # type: ignore[no-untyped-call]
    backbone = lived_in("torchvision/mobilenet_v2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backbone(images())
    assert graphs(backbone) == 1
    assert torch.jit.onednn_fusion_enabled() == before  # type: ignore[no-untyped-call]
