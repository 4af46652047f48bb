"""Hooks that others have put on modules, to see what goes into them or comes out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn


def is_watched(module: nn.Module) -> bool:
    """Whether hooks, or a ``forward`` put in the place of its own, see what goes into this very module or comes out."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks) or (
        "forward" in module.__dict__
    )


@contextmanager
def unheard(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Have hooks that are there do nothing until the block ends: what runs now is none of their business.

    The modules count as watched all the same.
    """
    hooked = [hooks for module in modules for hooks in (module._forward_hooks, module._forward_pre_hooks) if hooks]
    kept = [dict(hooks) for hooks in hooked]
    try:
        for hooks in hooked:
            hooks.update(dict.fromkeys(hooks, _unmoved))
        yield
    finally:
        for hooks, own in zip(hooked, kept, strict=True):
            hooks.update(own)


def _unmoved(*args: Any) -> None:
    """A hook that does nothing."""
