"""Functions of tensors as CUDA graphs: all of their kernels are started at once, not one after the other from Python.

What they are worth stands in docs/gpu/benchmark.md.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before the one that is recorded, in which libraries choose their kernels and take their memory; torch's own
number in ``torch.cuda.make_graphed_callables``."""


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
