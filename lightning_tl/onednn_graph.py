"""Frozen modules as one graph of oneDNN's, which plans all of their convolutions together.

torch calls oneDNN once for each layer, and it prepares the weights each time. Given the whole graph it prepares them
once, chooses the memory layout between the layers, and adds residuals and clips in the convolutions' own pass. torch
reaches it through TorchScript alone (``torch.jit.enable_onednn_fusion``). What it is worth stands in
docs/benchmark.md.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_tl.folding import Folded, FoldingSameConv2d, has_plain_padding, is_folded
from lightning_tl.frozen_blocks import FrozenBlocks
from lightning_tl.padding import SameConv2d, same_padded, same_padding
from lightning_tl.plainly import up_to_date
from lightning_tl.relu6 import CEILING, computed_in

ADDS = ("aten::add", "aten::add_")
"""TorchScript's sums of two tensors."""

Graph = Callable[[Tensor], Tensor]
"""From images, (batch, 3, height, width), to what the modules give for them."""


def offered(x: Tensor, weight: Tensor) -> bool:
    """Whether there are such graphs for images like ``x`` in a network with ``weight``: in float32, on a CPU."""
    if not hasattr(torch.jit, "enable_onednn_fusion") or torch.jit.is_tracing() or not torch.backends.mkldnn.enabled:  # type: ignore[no-untyped-call, attr-defined]
        return False
    if x.device.type != "cpu" or (torch.is_grad_enabled() and x.requires_grad):
        return False
    return x.dtype == weight.dtype == computed_in(weight) == torch.float32


def makers(chain: Sequence[nn.Module]) -> Iterator[Callable[[Tensor], tuple[Graph, Tensor]]]:
    """Ways to make a graph of ``chain`` for images like those given, with what it gives for these; the best first.

    There are none where there are not several convolutions that one graph can join. Each raises one
    error or another where TorchScript or oneDNN lacks something: from C++ an IndexError, too.
    """
    if sum(is_folded(module) for outer in chain for module in outer.modules()) < 2:
        return
    for turned in (True, False) if _pads_unevenly(chain) else (False,):
        yield partial(_make, chain, turned)


def _make(chain: Sequence[nn.Module], turned: bool, image: Tensor) -> tuple[Graph, Tensor]:
    return _graph(_Plain(chain, turned).eval(), image)


def _graph(module: nn.Module, image: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """``module`` compiled for images like ``image``, and what it gives for these.

    Raises:
        RuntimeError: it cannot be, or there is nothing in it that oneDNN computes.
    """
    with warnings.catch_warnings(), _onednn_fusion(), up_to_date():
        warnings.simplefilter("ignore")  # of torch about TorchScript's age, and sizes that become constants, as wanted
        module(image[:1])  # settles paddings
        graph = _traced(module, image[:1])
        graph(image)  # TorchScript looks at what comes by, and compiles the next time
        given = graph(image)
        made = str(torch.jit.last_executed_optimized_graph())  # type: ignore[attr-defined]
        if "oneDNNFusionGroup" not in made:
            raise RuntimeError("oneDNN computes nothing of it")
    return graph, given


def _traced(module: nn.Module, image: Tensor) -> Callable[[Tensor], Tensor]:
    """``module`` as a function of TorchScript's, whose weights are constants.

    ``torch.jit.trace`` of a function does this too, and never lets go of its constants; of a module it takes four times
    as long.
    """
    names: list[str] = []
    graph, _ = torch._C._create_graph_by_tracing(lambda x: module(x), (image,), lambda _: "", True, False, None, names)
    if _adds_in_a_row(graph):
        raise RuntimeError("oneDNN would end the process")
    return torch._C.CompilationUnit().create_function("frozen", graph)


def _adds_in_a_row(graph: Any) -> bool:
    """Whether a sum goes into another sum alone, as in timm's RepViT.

    torch 2.15 gives oneDNN both for the convolution's own pass and ends with a segmentation fault.
    """
    sums = [node for node in graph.nodes() if node.kind() in ADDS]
    users = [[use.user.kind() for use in node.output().uses()] for node in sums]
    return any(len(kinds) == 1 and kinds[0] in ADDS for kinds in users)


@contextmanager
def _onednn_fusion() -> Iterator[None]:
    """Graphs that are compiled meanwhile are oneDNN's; others of the process stay as they are."""
    before = torch.jit.onednn_fusion_enabled()  # type: ignore[no-untyped-call]
    torch.jit.enable_onednn_fusion(True)
    try:
        yield
    finally:
        torch.jit.enable_onednn_fusion(before)


def _pads_unevenly(chain: Sequence[nn.Module]) -> bool:
    """Whether there is TensorFlow's padding for strides among them, all of it in folded convolutions."""
    convs: list[Any] = [module for outer in chain for module in outer.modules() if isinstance(module, SameConv2d)]
    return any(max(conv.stride) > 1 for conv in convs) and all(is_folded(conv) for conv in convs)


def _twin(module: nn.Module) -> nn.Module:
    """A copy whose modules can be replaced while the original's stay; both have the same tensors."""
    twin = module.__new__(type(module))  # ``copy`` asks the class, and parametrized ones refuse
    children = {name: None if child is None else _twin(child) for name, child in module._modules.items()}
    twin.__dict__ = {**module.__dict__, "_modules": children}
    twin.__dict__.pop("_compiled_call_impl", None)
    return twin


class _Plain(nn.Module):
    """Twins of the modules, one after the other, with folded convolutions as single layers.

    Args:
        chain: the modules.
        turned: compute on images turned upside down and left to right. TensorFlow pads more at the bottom and right
            where it cannot pad evenly, which is the top and left of a turned image; and that torch's even padding
            gives too, as strides then end before the last row. Kernels are turned with the images.
    """

    def __init__(self, chain: Sequence[nn.Module], turned: bool) -> None:
        super().__init__()
        self.turned = turned
        self.layers = nn.Sequential(*map(_twin, chain))
        for parent in list(self.layers.modules()):
            if type(parent) is FrozenBlocks:
                parent.__class__ = nn.Sequential  # type: ignore[assignment]
            for name, child in list(parent.named_children()):
                if is_folded(child) and has_plain_padding(cast(nn.Conv2d, child)):
                    setattr(parent, name, _Convolution(child, turned))

    def forward(self, x: Tensor) -> Tensor:
        """Through all of them, (batch, channels, height, width)."""
        return self.layers(x.flip(2, 3)).flip(2, 3) if self.turned else self.layers(x)  # type: ignore[no-any-return]


class _Convolution(nn.Module):
    """A folded convolution, and ReLU6 where that is in it, of operations that oneDNN's graph knows.

    What its padding is for the images that it is called on first, it is from then on.
    """

    def __init__(self, conv: Any, turned: bool) -> None:
        super().__init__()
        weight, bias, self.rectified = cast(Folded, conv.folded)
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", weight.flip(2, 3) if turned else weight)
        self.register_buffer("bias", bias)
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups
        self.same, self.turned, self.copied = isinstance(conv, FoldingSameConv2d), turned, (0, 0, 0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution."""
        if self.same:
            self._settle(x)
        x = F.pad(x, self.copied) if any(self.copied) else x
        x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return F.hardtanh(x, 0.0, CEILING) if self.rectified else x

    def _settle(self, x: Tensor) -> None:
        """Turn TensorFlow's padding of ``x`` into numbers: of a convolution's own padding, or of a padded copy."""
        down, across = same_padding(x, self.weight, self.stride, self.dilation)
        if self.turned:  # what came last, at the bottom and right, comes first
            self.padding = (down - down // 2, across - across // 2)
        else:
            padded, self.weight, self.padding = same_padded(x, self.weight, self.stride, self.dilation)
            if padded is not x:
                self.copied = (across // 2, across - across // 2, down // 2, down - down // 2)
        self.same = False
