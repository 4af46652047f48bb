"""Hooks that others have put on modules, to see what goes into them or comes out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

PROFILERS = "lightning.pytorch.profilers."
"""Whose hooks take the time alone; a profile is to be of what trains."""


def is_watched(module: nn.Module) -> bool:
    """Whether hooks, or a ``forward`` put in the place of its own, see what goes into this very module or comes out."""
    if module._backward_hooks or module._backward_pre_hooks or "forward" in module.__dict__:
        return True
    if not (module._forward_hooks or module._forward_pre_hooks):
        return False
    return not all(map(_takes_time, (*module._forward_hooks.values(), *module._forward_pre_hooks.values())))


def _takes_time(hook: Any) -> bool:
    """Whether it is a profiler's."""
    of: Any = hook.func if isinstance(hook, partial) else hook
    return str(getattr(of, "__module__", "")).startswith(PROFILERS)


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
