"""A training step as one CUDA graph: from a batch to its loss, what it adds to the metrics, and every gradient.

Frozen layers, those that train, dropout, head, loss and the backward pass are hundreds of small kernels, which a GPU
computes sooner than Python can name them one by one.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lightning_tl.cuda_graph import GraphRecorder, copied, waiting
from lightning_tl.fingerprint import hooks_of
from lightning_tl.foldable import proof_tolerance
from lightning_tl.folding import tensors_read
from lightning_tl.plainly import is_looked_into
from lightning_tl.watching import is_watched

Step = Callable[..., Sequence[Tensor]]


class StepGraph:
    """Calls a training step through a graph of it, proven equal; its loss has the gradients with it.

    The graph is made when a batch of its kind comes for the second time, and anew when something that it depends on is
    another: a tensor, what trains, a module, hooks, settings. Steps whose modules or tensors others watch run as they
    are, and so do those in float16, whose loss is scaled before the backward pass. Gradients go through
    autograd when ``backward`` is called on the loss, so that hooks on them are called; there are no second derivatives.
    """

    def __init__(self) -> None:
        self._recorder = GraphRecorder(copies=False)
        self._state: tuple[Any, ...] = ()
        self._held: list[Any] = []
        self._trained: list[nn.Parameter] = []
        self._apart = False
        self._largest = 0

    def __call__(
        self,
        step: Step,
        inputs: Sequence[Tensor],
        key: int,
        modules: Sequence[nn.Module],
        fingerprint: list[Any],
        settings: Sequence[Any] = (),
    ) -> list[Tensor] | None:
        """What the step gives, its loss with gradients; None where there is no graph of it. Ask ``offered`` before.

        All but the loss is there until the next step.

        Args:
            step: of the inputs and of the key as a tensor, int64 (1,): the loss, a scalar, and what needs no gradient.
                It draws no other random numbers, and calls no other graph.
            inputs: images in [0, 255] (batch, 3, height, width), labels int64 (batch,), indices int64 (batch,).
            key: of random numbers.
            modules: those that the step calls, which have its parameters.
            fingerprint: of what is inside them, without the numbers that train; empty where nobody knows.
            settings: what else it depends on.
        """
        if not fingerprint:
            return None
        if len(inputs[0]) > self._largest:  # as where a batch size is sought: those that are larger may need the room
            self._recorder.clear()
            self._largest = len(inputs[0])
        self._look(modules, fingerprint, settings)
        trained = self._trained
        if self._apart or not trained or any(parameter._backward_hooks for parameter in trained):
            return None

        def read() -> list[Any]:
            return tensors_read(inner for module in modules for inner in module.modules())

        found = self._recorder(_with_gradients(step, trained), inputs, [key], proof=_is_equal, kept=read)
        if found is None:
            return None
        loss, *gradients = copied([found[0], *found[-len(trained) :]])
        return [_Known.apply((loss, gradients), *trained), *found[1 : -len(trained)]]

    def clear(self) -> None:
        """Give the memory back."""
        self.__init__()  # type: ignore[misc]

    def __reduce__(self) -> tuple[type["StepGraph"], tuple[()]]:
        """Graphs do not travel to other processes, nor into copies."""
        return StepGraph, ()

    def _look(self, modules: Sequence[nn.Module], fingerprint: list[Any], settings: Sequence[Any]) -> None:
        """Forget graphs of what was before."""
        facts = [*settings, *_modes(), *(fact for module in modules for fact in _facts(module))]
        if self._state == (facts, fingerprint, _addresses(self._trained)):
            return
        self._recorder.clear()
        self._held = [tensor for module in modules for tensor in _tensors(module)]  # so that no other gets its identity
        self._trained = [of for module in modules for of in module.parameters() if of.requires_grad]
        self._apart = any(is_watched(inner) for module in modules for inner in module.modules()) or any(
            parameter.dtype == torch.float16 for parameter in self._trained
        )
        self._state = (facts, fingerprint, _addresses(self._trained))


def offered(images: Tensor) -> bool:
    """Whether a step on such images may be recorded, here and now; see also ``cuda_graph.offered``."""
    if not images.is_cuda or not torch.is_grad_enabled() or is_looked_into() or torch.is_anomaly_enabled():
        return False
    if nn.modules.module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    return not (torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == torch.float16)


def _with_gradients(step: Step, trained: Sequence[nn.Parameter]) -> Callable[..., tuple[Tensor, ...]]:
    """The step and its backward pass: loss, what else it gives, and a gradient for each parameter."""

    def both(*given: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            with _no_kept_casts():
                loss, *others = step(*given)
            with torch.autocast("cuda", enabled=False), _on_one_stream():  # as where ``backward`` is called
                gradients = torch.autograd.grad(loss, trained)
        return (loss.detach(), *others, *gradients)

    return both


@contextmanager
def _no_kept_casts() -> Iterator[None]:
    """Autocast, where it is on, casts weights anew: a graph cannot use what was cast before it, nor keep its own."""
    dtype, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
    with torch.autocast("cuda", dtype, enabled, cache_enabled=False):
        yield


@contextmanager
def _on_one_stream() -> Iterator[None]:
    """Raise RuntimeError where a recording would be broken off, which torch tells in a warning, once a process.

    The node that adds up a parameter's gradient is on the stream on which it was made, and DDP, and hooks on what has
    been added up, keep it alive.
    """
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "The AccumulateGrad node's stream")
            yield
    except UserWarning as warning:
        raise RuntimeError(str(warning)) from warning
    finally:
        torch.set_warn_always(before)


class _Known(torch.autograd.Function):
    """A loss whose gradients have been computed with it."""

    @staticmethod
    def forward(ctx: Any, known: tuple[Tensor, Sequence[Tensor]], *parameters: Tensor) -> Tensor:
        """The loss, a scalar; ``known`` has it and a gradient for each parameter."""
        loss, gradients = known
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients, times the one that the loss is given."""
        return (None, *torch._foreach_mul(ctx.saved_tensors, of_loss))


def _is_equal(graph: Callable[..., Sequence[Tensor]], step: Step, given: Sequence[Tensor]) -> bool:
    """Whether graph and step agree on another batch than the one that was recorded: negatives, labels the other way."""
    images, labels, index, key = given
    others = (255 - images, labels.flip(0), index + 1, key + 1)
    with waiting():
        wanted, got = step(*others), graph(*others)
        pairs = [pair for pair in zip(got, wanted, strict=True) if pair[0].is_floating_point()]
        apart = [(mine - theirs).float().norm() for mine, theirs in pairs]
        size = [theirs.float().norm() for _, theirs in pairs]
        return bool((torch.stack(apart) <= proof_tolerance(images) * torch.stack(size)).all())


def _facts(module: nn.Module) -> list[Any]:
    """What is another where this very module, not one inside it, or a tensor of its own is."""
    tensors = [(id(of), of.requires_grad, of.data_ptr()) for of in _tensors(module)]
    inside = map(id, module._modules.values())
    return [id(module), module.training, "forward" in module.__dict__, *map(len, hooks_of(module)), *inside, *tensors]


def _modes() -> tuple[Any, ...]:
    """Settings of the whole process by which torch chooses kernels.

    Of precision those that may be asked for whichever way they were set; torch refuses to tell its older ones then.
    """
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    precision = (cudnn.conv.fp32_precision, matmul.fp32_precision)
    return (torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic, *precision)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [of for of in (*module._parameters.values(), *module._buffers.values()) if of is not None]


def _addresses(tensors: Sequence[Tensor]) -> list[int]:
    return list(map(Tensor.data_ptr, tensors))
