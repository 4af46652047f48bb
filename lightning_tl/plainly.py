"""When layers must compute for themselves, one by one, because more than their results is wanted of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch
from torch.autograd import forward_ad

_up_to_date = False
_one_at_a_time = RLock()
"""Held while it is true: it is the whole process'."""


def plainly() -> bool:
    """Whether nothing that was folded may be used here.

    What a compiler, an exporter or TorchScript's tracer sees it keeps, and calls it when weights are others: it may see
    folded weights only where they are brought ``up_to_date`` before each call. ``torch.func`` and forward-mode
    differentiation look at the operations themselves, and put tensors of their own in the place of parameters.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
        return not _up_to_date
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
