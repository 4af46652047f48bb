"""The frozen beginning of a network as one graph of oneDNN's, which plans all of its convolutions together.

torch calls oneDNN once for each layer, and it prepares the weights each time. Given the whole graph it prepares them
once, chooses the memory layout between the layers, and adds residuals and clips in the convolutions' own pass. torch
reaches it through TorchScript alone (``torch.jit.enable_onednn_fusion``). What it is worth stands in
docs/benchmark.md.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers.padding import get_same_padding
from torch import Tensor, nn

from lightning_tl.chain import bypassed, frozen_chain, is_watched, unheard
from lightning_tl.foldable import PROOF_TOLERANCE
from lightning_tl.folding import Folded, FoldingConv2d, FoldingSameConv2d, has_plain_padding, written
from lightning_tl.frozen_blocks import FrozenBlocks
from lightning_tl.padding import SameConv2d, same_padded
from lightning_tl.relu6 import CEILING, computed_in

WORTH = 2**16
"""Pixels of a batch, all images together, from which on a graph is made. Making one takes half a second, which about
fifty batches pay back, MobileNetV2's of 8 at 96 pixels as those of 8 at 224 (2 cores of an Intel Xeon)."""
USUAL = (8, 10)
"""Batches of a multiple of one of these have a graph; the last batch of an epoch, which comes once, seldom is one. Both
are rules of the batch alone, not of those before it, so that a run that is resumed computes what it would have."""
FEW = 2
"""Different images in the batch that proves a graph, so that the plain path need not run on all of it."""
GRAPHS_KEPT = 4
"""For so many shapes of a batch; each has the weights as oneDNN prepares them."""
_one_at_a_time = Lock()
"""Held while a graph is made: which fusion TorchScript uses is a setting of the whole process."""


class FrozenGraph:
    """Runs a network with its frozen beginning as a graph of oneDNN's, where that can be had and is proven equal.

    For float32 on a CPU. The graph is made anew when tensors were written to or are others, modules were replaced or
    are watched, or other ones train, and for another shape of the batch. Writing through ``tensor.data`` leaves no
    trace, see ``forget``. Hooks see images alone, and nothing of how a graph is made. What trains stays what it is, and
    so do tensors and names. One thread at a time.

    Args:
        net: the network, in inference mode.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._modules: tuple[nn.Module, ...] = ()
        self._state: list[Any] = []
        self._chain: tuple[nn.Module, ...] = ()
        self._graphs: dict[tuple[Any, ...], Callable[[Tensor], Tensor] | None] = {}
        self._lock = RLock()

    def forget(self) -> None:
        """Have graphs made anew."""
        with self._lock:
            self._modules = ()

    def __call__(self, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``run`` gives for scaled images ``x``, (batch, 3, height, width); it runs the network, folded."""
        if torch.compiler.is_compiling():
            return run(x)
        with self._lock:  # while one thread has modules bypassed, no other may run them
            graph = self._graph_for(x, run) if self._takes(x) else None
            if graph is None:
                return run(x)
            with torch.no_grad():
                given = graph(x)
            return _rest(self._chain, given, run)

    def __getstate__(self) -> dict[str, Any]:
        """Graphs do not travel to other processes, nor into copies."""
        return {"net": self.net}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew."""
        self.__init__(state["net"])  # type: ignore[misc]

    def _takes(self, x: Tensor) -> bool:
        if not hasattr(torch.jit, "enable_onednn_fusion") or torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
            return False
        if x.device.type != "cpu" or x.dtype != torch.float32 or (torch.is_grad_enabled() and x.requires_grad):
            return False
        batch, _, height, width = x.shape
        if batch * height * width < WORTH or all(batch % number for number in USUAL):
            return False
        weight = next(self.net.parameters())
        return weight.dtype == computed_in(weight) == torch.float32 and bool(torch.backends.mkldnn.enabled)

    def _graph_for(self, x: Tensor, run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor] | None:
        """A graph for batches like ``x``, made where there is none; None where there can be none."""
        if not self._modules or _state(self._modules) != self._state:
            self._graphs.clear()
            modules = tuple(self.net.modules())
            with unheard(modules):
                state, chain = _state(modules), frozen_chain(self.net, run, x[:1].detach().clone())
            self._modules, self._state, self._chain = modules, state, chain
        shape = (x.shape, x.stride())
        if shape in self._graphs:
            graph = self._graphs.pop(shape)
        else:
            with unheard(self._modules):
                graph = _proven_graph(self._chain, x, run) if _is_worth_it(self._chain) else None
        self._graphs[shape] = graph  # as the last, which goes last
        if len(self._graphs) > GRAPHS_KEPT:
            del self._graphs[next(iter(self._graphs))]
        return graph


def _state(modules: Sequence[nn.Module]) -> list[Any]:
    """What a graph depends on; of what trains, no more than that it does."""
    state: list[Any] = []
    for module in modules:
        eps = module.__dict__.get("eps", 0)  # asking a module for what it has not takes longer than all else here
        state.append((is_watched(module), eps, *map(id, module._modules.values())))
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is None or tensor.requires_grad:
                state.append(tensor is None)
            else:
                state.append(written(tensor))
    return state


def _is_worth_it(chain: Sequence[nn.Module]) -> bool:
    """Whether there are several convolutions that one graph can join."""
    return sum(_is_folded(module) for outer in chain for module in outer.modules()) > 1


def _is_folded(module: nn.Module) -> bool:
    return isinstance(module, FoldingConv2d | FoldingSameConv2d) and module.folded is not None


def _rest(chain: Sequence[nn.Module], x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """What ``run`` makes of ``x``, which the chain has given."""
    with bypassed(chain):
        return run(x)


@torch.inference_mode(False)
@torch.no_grad()
def _proven_graph(
    chain: Sequence[nn.Module], x: Tensor, run: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor] | None:
    """The modules as a graph for images of the shape and strides of ``x``; None where it computes something else."""
    few = x.new_empty(FEW, *x.shape[1:]).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    image = x.new_empty_strided(x.shape, x.stride()).copy_(few.repeat(len(x) // FEW, 1, 1, 1))
    plain = run(image[:FEW])
    for turned in (True, False) if _pads_unevenly(chain) else (False,):
        try:
            with _one_at_a_time:
                graph, given = _graph(_Plain(chain, turned).eval(), image)
            difference = (_rest(chain, given, run).reshape(-1, *plain.shape) - plain).abs().max()
        except (AttributeError, RuntimeError, TypeError, ValueError):  # what TorchScript or oneDNN lacks
            continue
        if difference < PROOF_TOLERANCE * plain.abs().max():
            return graph
    return None


def _graph(module: nn.Module, image: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """``module`` compiled for images like ``image``, and what it gives for these.

    Raises:
        RuntimeError: it cannot be, or there is nothing in it that oneDNN computes.
    """
    with warnings.catch_warnings(), _onednn_fusion():
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
    return torch._C.CompilationUnit().create_function("frozen", graph)


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
    return any(max(conv.stride) > 1 for conv in convs) and all(_is_folded(conv) for conv in convs)


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
                if _is_folded(child) and has_plain_padding(cast(nn.Conv2d, child)):
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
        sizes = zip(x.shape[2:], self.weight.shape[2:], self.stride, self.dilation, strict=True)
        down, across = (get_same_padding(*of_axis) for of_axis in sizes)
        if self.turned:  # what came last, at the bottom and right, comes first
            self.padding = (down - down // 2, across - across // 2)
        else:
            padded, self.weight, self.padding = same_padded(x, self.weight, self.stride, self.dilation)
            if padded is not x:
                self.copied = (across // 2, across - across // 2, down // 2, down - down // 2)
        self.same = False
