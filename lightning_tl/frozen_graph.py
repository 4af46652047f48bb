"""The frozen beginning of a network as one graph, where that can be had and is proven equal to its layers."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock, RLock
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl import cuda_graph, onednn_graph
from lightning_tl.chain import bypassed, frozen_chain
from lightning_tl.foldable import proof_tolerance
from lightning_tl.folding import tensors_read
from lightning_tl.onednn_graph import Graph
from lightning_tl.relu6 import computed_in
from lightning_tl.watching import unheard

WORTH = 2**16
"""Pixels of a batch, all images together, from which on a graph is made. Making one of oneDNN's takes half a second,
which about fifty batches pay back, MobileNetV2's of 8 at 96 pixels as those of 8 at 224 (2 cores of an Intel Xeon)."""
USUAL = (8, 10)
"""Batches of a multiple of one of these have a graph; the last batch of an epoch, which comes once, seldom is one. Both
are rules of the batch alone, not of those before it, so that a run that is resumed computes what it would have."""
FEW = 2
"""Different images in the batch that proves a graph, so that the plain path need not run on all of it."""
GRAPHS_KEPT = 4
"""For so many shapes of a batch; each has memory of its own, and the weights as oneDNN prepares them."""
_one_at_a_time = Lock()
"""Held while a graph is made: which fusion TorchScript uses is a setting of the whole process."""


class FrozenGraph:
    """Runs a network with its frozen beginning as a graph, where that can be had and is proven equal.

    It is oneDNN's for float32 on a CPU, see ``onednn_graph``, and CUDA's on a GPU, see ``cuda_graph``. It is made anew
    when tensors were written to or are others, modules were replaced or are watched, or other ones train, and for
    another shape of the batch. Writing through ``tensor.data`` leaves no trace, see ``forget``. Hooks see images alone,
    and nothing of how a graph is made. What trains stays what it is, and so do tensors and names. One thread at a time.

    Args:
        net: the network, in inference mode.

    Attributes:
        lock: held while modules are bypassed; no other thread may run them, or take their fingerprint, meanwhile.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._modules: tuple[nn.Module, ...] = ()
        self._fingerprint: list[Any] = []
        self._chain: tuple[nn.Module, ...] | None = None
        self._seen: deque[tuple[Any, ...]] = deque(maxlen=GRAPHS_KEPT)
        self._graphs: dict[tuple[Any, ...], Graph | None] = {}
        self.lock = RLock()

    def forget(self) -> None:
        """Have graphs made anew."""
        with self.lock:
            self._modules, self._fingerprint = (), []
            self._graphs.clear()  # with the memory of each

    def __call__(self, x: Tensor, run: Callable[[Tensor], Tensor], fingerprint: list[Any]) -> Tensor:
        """What ``run`` gives for scaled images ``x``, (batch, 3, height, width); it runs the network, folded.

        ``x`` is one that it ``takes``; ``fingerprint`` is the network's now, without the numbers that train.
        """
        with self.lock:
            graph = self._graph_for(x, run, fingerprint)
            if graph is None:
                return run(x)
            with torch.no_grad():
                given = graph(x)
            return _rest(self._chain or (), given, run)

    def __getstate__(self) -> dict[str, Any]:
        """Graphs do not travel to other processes, nor into copies."""
        return {"net": self.net}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew."""
        self.__init__(state["net"])  # type: ignore[misc]

    def takes(self, x: Tensor) -> bool:
        """Whether a graph may be made for batches like ``x``; others are none of its business."""
        batch, _, height, width = x.shape
        if batch * height * width < WORTH or all(batch % number for number in USUAL):
            return False
        if 0 in x.stride():  # an image that was expanded, and has no memory of its own
            return False
        weight = next(self.net.parameters())
        return x.device == weight.device and (cuda_graph.offered(x) or onednn_graph.offered(x, weight))

    def _is_as_it_was(self, fingerprint: list[Any]) -> bool:
        """Whether the network has not changed since its graphs were made; what trains may have other numbers."""
        return bool(self._modules) and fingerprint == self._fingerprint

    def _graph_for(self, x: Tensor, run: Callable[[Tensor], Tensor], fingerprint: list[Any]) -> Graph | None:
        """A graph for batches like ``x``, made where there is none; None where there can be none."""
        if not self._is_as_it_was(fingerprint):
            self._graphs.clear()
            self._seen.clear()
            self._chain = None
            self._modules, self._fingerprint = tuple(self.net.modules()), fingerprint
        shape = (x.shape, x.stride(), x.dtype, x.device, computed_in(x))
        if shape in self._graphs:
            graph = self._graphs.pop(shape)
        else:
            if x.is_cuda and shape not in self._seen:  # the same kernels, so that it may wait for another of its kind
                self._seen.append(shape)
                return None
            with unheard(self._modules):
                if self._chain is None:
                    self._chain = frozen_chain(self.net, run, x[:1].detach().clone())
                try:
                    graph = _proven_graph(self._chain, x, run) if self._chain else None
                except torch.OutOfMemoryError:  # of a GPU on which the batch alone just fits
                    graph = None
        self._graphs[shape] = graph  # as the last, which goes last
        if len(self._graphs) > GRAPHS_KEPT:
            del self._graphs[next(iter(self._graphs))]
        return graph


def _rest(chain: Sequence[nn.Module], x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """What ``run`` makes of ``x``, which the chain has given."""
    with bypassed(chain):
        return run(x)


@torch.inference_mode(False)
@torch.no_grad()
def _proven_graph(chain: Sequence[nn.Module], x: Tensor, run: Callable[[Tensor], Tensor]) -> Graph | None:
    """The modules as a graph for images of the shape and strides of ``x``; None where it computes something else."""
    few = torch.rand(FEW, *x.shape[1:], generator=torch.Generator().manual_seed(0), device="cpu").mul_(2).sub_(1).to(x)
    image = x.new_empty_strided(x.shape, x.stride()).copy_(few.repeat(len(x) // FEW, 1, 1, 1))
    plain = run(image if x.is_cuda else image[:FEW])  # CUDA has other kernels, of other rounding, for fewer images
    for make in [partial(_captured, chain)] if x.is_cuda else onednn_graph.makers(chain):
        try:
            with _one_at_a_time:
                graph, given = make(image)
            difference = (_rest(chain, given, run).reshape(-1, *plain.shape) - plain).abs().max()
        except Exception:  # whatever TorchScript, oneDNN or CUDA makes of what it lacks: without it all is computed too
            continue
        if difference < proof_tolerance(x) * plain.abs().max():
            return graph
    return None


def _captured(chain: Sequence[nn.Module], image: Tensor) -> tuple[Graph, Tensor]:
    """The modules as a CUDA graph, and what it gives for ``image``. Raises RuntimeError where it cannot be made."""
    read = tensors_read(module for outer in chain for module in outer.modules())
    graph = cuda_graph.capture(partial(_through, chain), [image], kept=read)
    return graph, graph(image)


def _through(chain: Sequence[nn.Module], x: Tensor) -> Tensor:
    for module in chain:
        x = module(x)
    return x
