"""Which batches and networks have a graph of oneDNN's, and what becomes of it."""

import copy
import gc
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from graphed import BATCH, SIZE, graphs, images, lived_in, needs_graphs
from torch import Tensor, nn
from torch.nn.utils import prune

from lightning_tl import frozen_graph
from lightning_tl.backbone import Backbone
from lightning_tl.batchnorm import hold_statistics
from lightning_tl.fingerprint import Fingerprint
from lightning_tl.foldable import find_pairs
from lightning_tl.folding import fold_frozen
from lightning_tl.frozen_graph import FrozenGraph

pytestmark = [needs_graphs, pytest.mark.usefixtures("small_batches_have_graphs")]


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
    kept = [shape[0] for shape, *_ in backbone._graph._graphs]
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


def test_two_backbones_make_their_graphs_in_two_threads() -> None:
    """While TorchScript's setting, which is that of the process, is another."""
    backbones = [lived_in("torchvision/mobilenet_v2"), lived_in("timm/mobilenetv2_035")]
    wanted = [copy.deepcopy(backbone)(images()) for backbone in backbones]
    for _ in range(3):
        for backbone in backbones:
            backbone.forget()
        with ThreadPoolExecutor(2) as pool:
            got = list(pool.map(lambda backbone: backbone(images()), backbones))
        assert [graphs(backbone) for backbone in backbones] == [1, 1]
        assert all(torch.equal(*pair) for pair in zip(got, wanted, strict=True))
    assert not torch.jit.onednn_fusion_enabled()  # type: ignore[no-untyped-call]


def test_a_graph_is_made_whatever_dtype_is_torchs_default() -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    wanted = copy.deepcopy(backbone)(images())
    torch.set_default_dtype(torch.float64)
    try:
        got = backbone(images())
    finally:
        torch.set_default_dtype(torch.float32)
    assert graphs(backbone) == 1
    assert torch.equal(got, wanted)


def test_weights_are_forgotten_where_layers_are_computed_one_by_one_for_a_while() -> None:
    backbone = lived_in("torchvision/mobilenet_v2")
    old = backbone(images())
    with backbone.without_graph():
        backbone.net.features[2].conv[0][0].weight.data.mul_(1.5)  # type: ignore[index, union-attr, operator]
        backbone.forget()
        plain = backbone(images())
    new = backbone(images())
    assert not torch.allclose(new, old, rtol=0.01)
    torch.testing.assert_close(new, plain, rtol=1e-3, atol=1e-4)


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
    assert torch.equal(graph(pixels, net, Fingerprint(net).take(False)), net(pixels))
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


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_layer_of_torchscript_may_be_among_the_others() -> None:
    """Whose modules keep neither tensors nor their mode where others do."""
    backbone = lived_in("torchvision/mobilenet_v2")
    wanted = backbone(images())
    backbone.net.features.append(torch.jit.script(nn.Identity()))  # type: ignore[operator, union-attr]
    torch.testing.assert_close(backbone(images()), wanted, rtol=1e-3, atol=1e-4)


def test_pruned_layers_are_computed_with_what_is_left_of_them() -> None:
    """Whose weight is then no parameter of theirs."""
    backbone = lived_in("torchvision/mobilenet_v2")
    conv = backbone.net.features[2].conv[0][0]  # type: ignore[index, union-attr]
    whole = backbone(images())
    prune.l1_unstructured(conv, "weight", amount=0.5)
    pruned = backbone(images())
    assert not torch.allclose(pruned, whole, rtol=0.01)
    prune.remove(conv, "weight")
    torch.testing.assert_close(backbone(images()), pruned, rtol=1e-3, atol=1e-4)


def test_whatever_a_graph_ends_in_the_network_is_computed_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """C++ has errors of its own: IndexError is what timm's EfficientFormer got."""

    def broken(chain: object) -> list[object]:
        def make(image: torch.Tensor) -> None:
            raise IndexError("vector::_M_range_check")

        return [make]

    monkeypatch.setattr("lightning_tl.onednn_graph.makers", broken)
    backbone = Backbone("timm/mobilenetv2_035", "torch", (96, 96))
    backbone.unfreeze_last(0)
    plain = Backbone("timm/mobilenetv2_035", "torch", (96, 96), fold_batchnorm=False)
    plain.load_state_dict(backbone.state_dict())
    pixels = torch.randint(0, 256, (8, 3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(backbone(pixels), plain(pixels), rtol=1e-4, atol=1e-5)
