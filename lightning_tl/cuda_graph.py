"""Functions of tensors as CUDA graphs: all of their kernels are started at once, not one after the other from Python.

They are no other kernels than before: what a graph saves is the time in which a GPU waits for Python.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before the one that is recorded, in which libraries choose their kernels and take their memory; torch's own
number in ``torch.cuda.make_graphed_callables``."""
GRAPHS_KEPT = 4
"""Of one function, for so many cases; each has memory of its own."""


def offered(x: Tensor) -> bool:
    """Whether a graph can be made for ``x``, here and now: on CUDA, where nothing else records or traces already."""
    if not x.is_cuda or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
        return False
    return not (torch.is_grad_enabled() and x.requires_grad) and not torch.cuda.is_current_stream_capturing()


@torch.inference_mode(False)
@torch.no_grad()
def capture(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], constants: Sequence[Any] = ()
) -> Callable[..., Tensor]:
    """``function``, recorded for tensors of the shapes, strides and types of ``inputs``: the very same kernels.

    What it does in Python is done once, and what else it reads is read from where it is now.

    Args:
        function: of these tensors, on one device; waits for nothing that it computes, and draws no random numbers.
        inputs: on a CUDA device.
        constants: what must stay alive for as long as the graph, since it has the addresses of their tensors.

    Raises:
        RuntimeError: something of it cannot be recorded.
    """
    with torch.cuda.device(inputs[0].device):
        static = [tensor.clone() for tensor in inputs]
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                function(*static)
        here.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # Other threads, as the one that pins a loader's batches, may go on meanwhile.
        with torch.cuda.graph(graph, stream=beside, capture_error_mode="thread_local"):
            output = function(*static)

    def replay(*given: Tensor) -> Tensor:
        assert constants is not None
        for tensor, value in zip(static, given, strict=True):
            tensor.copy_(value)
        graph.replay()
        return output.clone()

    return replay


class Recorder:
    """Calls functions through graphs of them, which are made where there are none; for one function an object."""

    def __init__(self) -> None:
        self._graphs: dict[Hashable, Callable[..., Tensor] | None] = {}
        self._numbers: tuple[tuple[int, ...], Tensor] = ((), torch.empty(0))

    def __call__(
        self, function: Callable[..., Tensor], inputs: Sequence[Tensor], numbers: Sequence[int], case: Hashable = ()
    ) -> Tensor | None:
        """What the function gives; None where there can be no graph of it.

        Args:
            function: of the inputs and of the numbers as a tensor; see ``capture``.
            inputs: tensors of which none is None.
            numbers: that seldom change: they are sent to the device when they do, which waits for it.
            case: what else the function depends on.
        """
        if not offered(inputs[0]) or len({tensor.device for tensor in inputs}) > 1:
            return None
        given = (*inputs, self._on(inputs[0].device, tuple(numbers)))
        kinds = [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in given]
        case = (case, torch.is_autocast_enabled("cuda"), *kinds)
        graph = self._graphs.pop(case) if case in self._graphs else _graph(function, given)
        self._graphs[case] = graph  # as the last, which goes last
        if len(self._graphs) > GRAPHS_KEPT:
            del self._graphs[next(iter(self._graphs))]
        return None if graph is None else graph(*given)

    def __reduce__(self) -> tuple[type["Recorder"], tuple[()]]:
        """Graphs do not travel to other processes, nor into copies."""
        return Recorder, ()

    def _on(self, device: torch.device, numbers: tuple[int, ...]) -> Tensor:
        if self._numbers[0] != numbers or self._numbers[1].device != device:
            self._numbers = numbers, torch.tensor(numbers).to(device)
        return self._numbers[1]


def _graph(function: Callable[..., Tensor], given: Sequence[Tensor]) -> Callable[..., Tensor] | None:
    try:
        return capture(function, given)
    except RuntimeError:  # something of it cannot be recorded
        return None
