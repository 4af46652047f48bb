"""When layers must compute for themselves, one by one, because more than their results is wanted of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, local

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

_up_to_date = False
_one_at_a_time = RLock()
"""Held while it is true: it is the whole process'."""


class _Scope(local):
    """Of a thread."""

    folded = False


_scope = _Scope()


def plainly() -> bool:
    """Whether nothing that was folded may be used here, by a layer.

    Only ``Backbone`` knows whether it is of the weights that there are now. Who calls layers, or the network, by
    themselves gets what they say; in a backward pass, checkpointed layers are computed once more, as they were.
    """
    if is_looked_into():
        return True
    return not (_scope.folded or torch.compiler.is_compiling() or torch._C._current_graph_task_id() != -1)


@contextmanager
def as_folded() -> Iterator[None]:
    """For calls of layers before which they were folded of the weights that there are."""
    before, _scope.folded = _scope.folded, True
    try:
        yield
    finally:
        _scope.folded = before


def is_looked_into() -> bool:
    """Whether operations themselves are looked at here, and nothing that was folded may be used.

    What a compiler, an exporter or TorchScript's tracer sees it keeps, and calls it when weights are others: it may see
    folded weights only where they are brought ``up_to_date`` before each call. ``torch.func`` and forward-mode
    differentiation look at the operations themselves, and put tensors of their own in the place of parameters; so do
    dispatch modes, which count operations or compute with sizes alone.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
        return not _up_to_date
    if _get_current_dispatch_mode() is not None:
        return True
    return torch._C._functorch.maybe_current_level() is not None or forward_ad._current_level >= 0


@contextmanager
def up_to_date() -> Iterator[None]:
    """For calls of what was compiled or traced before which ``Backbone.fold`` has been called; one thread at a time."""
    with _one_at_a_time:
        before = _up_to_date
        mark_up_to_date(True)
        try:
            yield
        finally:
            mark_up_to_date(before)


def mark_up_to_date(now: bool) -> None:
    """The same from here on, where who folds is not who calls: in Lightning's hooks."""
    global _up_to_date
    _up_to_date = now
