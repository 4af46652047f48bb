"""The modules at the beginning of a network that are frozen and follow one another: found by running it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_tl.folding import trains_with_norm


class _Call(NamedTuple):
    """A module at work: when it began and ended, in numbers of beginnings and endings, and on what."""

    module: nn.Module
    began: int
    ended: int
    input: Tensor
    output: Tensor


def frozen_chain(net: nn.Module, run: Callable[[Tensor], Tensor], image: Tensor) -> tuple[nn.Module, ...]:
    """The longest chain of modules of ``net`` from ``image`` on, each of which takes what the one before it gave.

    None of them trains, is called twice or has hooks, which would want to see what comes by. Of modules inside one
    another it is the outermost.

    Args:
        net: the network.
        run: from ``image`` to features, through ``net``.
        image: (batch, 3, height, width).
    """
    calls = sorted(_calls(net, run, image), key=lambda call: call.began)
    times = Counter(call.module for call in calls)
    chain: list[nn.Module] = []
    x, now = image, -1
    for call in calls:
        if call.began > now and call.input is x and times[call.module] == 1 and _is_still(call.module):
            chain.append(call.module)
            x, now = call.output, call.ended
    return tuple(chain)


@contextmanager
def bypassed(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Have each of the modules give what it is given, until the block ends."""
    for module in modules:
        module.forward = _identity
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def has_hooks(module: nn.Module) -> bool:
    """Whether something sees what goes into this very module or comes out of it."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _identity(x: Tensor) -> Tensor:
    return x


def _is_still(module: nn.Module) -> bool:
    if any(parameter.requires_grad for parameter in module.parameters()):
        return False
    return not any(has_hooks(inner) or trains_with_norm(inner) for inner in module.modules())


@torch.no_grad()
def _calls(net: nn.Module, run: Callable[[Tensor], Tensor], image: Tensor) -> list[_Call]:
    """Of the modules in ``net`` that take one tensor and give one, in the order in which they end."""
    calls: list[_Call] = []
    begun: list[int] = []
    clock = iter(range(2**62))

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        begun.append(next(clock))

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        began = begun.pop()
        if len(args) == 1 and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            calls.append(_Call(module, began, next(clock), args[0], output))

    watched = [module for module in net.modules() if module is not net and not has_hooks(module)]
    handles = [module.register_forward_pre_hook(before) for module in watched]
    handles += [module.register_forward_hook(after) for module in watched]
    try:
        run(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls
