"""Functions of tensors as CUDA graphs: all of their kernels are started at once, not one after the other from Python.

They are no other kernels than before: what a graph saves is the time in which a GPU waits for Python.
"""

import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

WARM_UP = 3
"""Runs before the one that is recorded, in which libraries choose their kernels and take their memory; torch's own
number in ``torch.cuda.make_graphed_callables``."""
MUST_NOT_BREAK_OFF = not hasattr(getattr(torch._C, "_CUDAGraph", None), "capture_end_pre")
"""Whether this is a torch whose allocator, after a recording that was broken off, believes that it still goes on."""
GRAPHS_KEPT = 4
"""Of one function, for so many cases; each has memory of its own."""
Proof = Callable[[Callable[..., Any], Callable[..., Any], Sequence[Tensor]], bool]
"""Of a graph, a function and what both take: whether they give the same."""
_one_at_a_time = Lock()
"""Held while a graph is made: whether waiting is an error is a setting of the whole process."""


def is_unseen(x: Tensor) -> bool:
    """Whether ``x`` is on CUDA, where nobody traces, compiles or looks at operations here and now."""
    if not x.is_cuda or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
        return False
    return _get_current_dispatch_mode() is None  # who looks at operations would see none


def offered(x: Tensor) -> bool:
    """Whether a graph can be made for ``x``, here and now: on CUDA, where nothing else records or traces already."""
    if not is_unseen(x):
        return False
    return not (torch.is_grad_enabled() and x.requires_grad) and not torch.cuda.is_current_stream_capturing()


class Graph:
    """A recorded function: called with other tensors of the same shapes, it gives what the function would.

    Settings of torch, and what the function did in Python, are those of when it was recorded. On one stream at a time.

    Args:
        function: see ``capture``.
        inputs: likewise.
        kept: what must stay alive for as long as the graph, since it has the addresses of their tensors.
        copies: whether the caller is given a copy; what is the graph's own, the next call writes to.
    """

    def __init__(
        self, function: Callable[..., Any], inputs: Sequence[Tensor], kept: Sequence[Any], copies: bool
    ) -> None:
        self._kept, self._lock, self._copies = kept, Lock(), copies
        self._inputs = [tensor.clone() for tensor in inputs]
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(here)
        try:
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP):
                    function(*self._inputs)
                if MUST_NOT_BREAK_OFF:
                    with _no_waiting():
                        function(*self._inputs)
        finally:
            here.wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        _forget_workspaces()
        try:
            # Other threads, as the one that pins a loader's batches, may go on meanwhile.
            with (
                torch.cuda.stream(here),  # to which a recording that is broken off must come back
                torch.cuda.graph(self._graph, stream=beside, capture_error_mode="thread_local"),
            ):
                self._output = function(*self._inputs)
        finally:
            _forget_workspaces()

    def __call__(self, *given: Tensor) -> Any:
        """What the function gives for these: a tensor, or a list of them where it gives several."""
        with self._lock:
            for tensor, value in zip(self._inputs, given, strict=True):
                tensor.copy_(value)
            self._graph.replay()
            if not self._copies:
                return self._output
            return self._output.clone() if isinstance(self._output, Tensor) else copied(self._output)


@torch.inference_mode(False)
@torch.no_grad()
def capture(
    function: Callable[..., Any], inputs: Sequence[Tensor], kept: Sequence[Any] = (), copies: bool = True
) -> Graph:
    """``function``, recorded for tensors of the shapes, strides and types of ``inputs``: the very same kernels.

    Args:
        function: of these tensors, on one device, to a tensor or several; it draws no random numbers.
        inputs: on a CUDA device.
        kept: see ``Graph``.
        copies: see ``Graph``.

    Raises:
        RuntimeError: something of it cannot be recorded, as what waits for the device.
    """
    with _one_at_a_time, torch.cuda.device(inputs[0].device):
        return Graph(function, inputs, kept, copies)


def copied(tensors: Sequence[Tensor]) -> list[Tensor]:
    """A copy of each, by one kernel for all of a type."""
    return by_type(lambda same: torch._foreach_mul(same, 1), tensors)


def by_type(kernel: Callable[..., Sequence[Tensor]], *lists: Sequence[Tensor]) -> list[Tensor]:
    """What ``kernel`` gives for lists of tensors, called for those of each type, which ``torch._foreach`` asks for."""
    found: dict[int, Tensor] = {}
    for dtype in {tensor.dtype for tensor in lists[0]}:
        places = [place for place, tensor in enumerate(lists[0]) if tensor.dtype == dtype]
        found |= zip(places, kernel(*([of[place] for place in places] for of in lists)), strict=True)
    return [found[place] for place in range(len(lists[0]))]


def _no_waiting() -> AbstractContextManager[None]:
    """Whatever waits for a device meanwhile raises RuntimeError, in other threads too."""
    return _waiting_is("error")


def waiting() -> AbstractContextManager[None]:
    """What is made once may wait for a device meanwhile, even where waiting is an error."""
    return _waiting_is("default")


@contextmanager
def _waiting_is(mode: str) -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that it does not find everything
        torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _forget_workspaces() -> None:
    """Have cuBLAS take its memory anew: a graph's must be its own, and nobody else's afterwards."""
    torch._C._cuda_clearCublasWorkspaces()


class GraphRecorder:
    """Calls a function through graphs of it, made when a case comes for the second time; for one function an object.

    Args:
        copies: see ``Graph``.
    """

    def __init__(self, copies: bool = True) -> None:
        self._copies = copies
        self._graphs: dict[Hashable, Callable[..., Any] | None] = {}
        self._seen: deque[Hashable] = deque(maxlen=GRAPHS_KEPT)
        self._numbers: tuple[tuple[int, ...], Tensor] = ((), torch.empty(0, device="cpu"))

    def __call__(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Tensor],
        numbers: Sequence[int],
        case: Hashable = (),
        proof: Proof | None = None,
        kept: Callable[[], Sequence[Any]] = tuple,
    ) -> Any:
        """What the function gives, a tensor or a list of them; None where there is no graph of it.

        Args:
            function: of the inputs and of the numbers as a tensor; see ``capture``.
            inputs: tensors, on one device.
            numbers: int64, that seldom change: they are sent to the device when they do.
            case: what else the function depends on.
            proof: whether a graph that was just made gives what the function gives; it is given both, and inputs and
                numbers as the function takes them. One that does not is not used.
            kept: gives what a graph that is made now must keep alive, see ``Graph``.
        """
        if not offered(inputs[0]) or len({tensor.device for tensor in inputs}) > 1:
            return None
        kinds = [(tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for tensor in inputs]
        case = (case, torch.is_autocast_enabled("cuda"), *kinds)
        if case not in self._graphs and case not in self._seen:  # it may never come again
            self._seen.append(case)
            return None
        given = (*inputs, self._on(inputs[0].device, tuple(numbers)))
        graph = self._graphs.pop(case) if case in self._graphs else self._made(function, given, proof, kept())
        self._graphs[case] = graph  # as the last, which goes last
        if len(self._graphs) > GRAPHS_KEPT:
            del self._graphs[next(iter(self._graphs))]
        return None if graph is None else graph(*given)

    def clear(self) -> None:
        """Give their memory back."""
        self.__init__(self._copies)  # type: ignore[misc]

    def __reduce__(self) -> tuple[type["GraphRecorder"], tuple[bool]]:
        """Graphs do not travel to other processes, nor into copies."""
        return GraphRecorder, (self._copies,)

    def _made(
        self, function: Callable[..., Any], given: Sequence[Tensor], proof: Proof | None, kept: Sequence[Any]
    ) -> Callable[..., Any] | None:
        try:
            graph = capture(function, given, kept, self._copies)
            return graph if proof is None or proof(graph, function, given) else None
        except RuntimeError:  # something of it cannot be recorded
            return None
        except Exception as error:  # what is really at fault shows as soon as it is called without
            warnings.warn(f"made no CUDA graph, and goes on without ({type(error).__name__}: {error}).", stacklevel=2)
            return None

    def _on(self, device: torch.device, numbers: tuple[int, ...]) -> Tensor:
        if self._numbers[0] != numbers or self._numbers[1].device != device:
            pinned = torch.tensor(numbers, device="cpu", pin_memory=device.type == "cuda")  # sending waits for nothing
            self._numbers = numbers, pinned.to(device, non_blocking=True)
        return self._numbers[1]
