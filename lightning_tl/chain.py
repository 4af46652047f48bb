"""The modules at the beginning of a network that are frozen and follow one another: found by running it."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_tl.folding import norm_trains
from lightning_tl.watching import is_watched


class _Call(NamedTuple):
    """A module at work: when it began and ended, in numbers of beginnings and endings, and on what.

    Attributes:
        input: its only argument; None where it has several.
    """

    module: nn.Module
    began: int
    ended: int
    input: Any
    output: Any


def frozen_chain(net: nn.Module, run: Callable[[Tensor], Tensor], image: Tensor) -> tuple[nn.Module, ...]:
    """The longest chain of modules of ``net`` from ``image`` on, each of which takes what the one before it gave.

    None of them trains, is called twice or is watched. Of modules inside one another it is the outermost.

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
        if call.began < now or call.input is not x or times[call.module] > 1 or not _is_still(call.module):
            continue
        within = [outer.module for outer in calls if outer.began < call.began and call.ended < outer.ended]
        if all(isinstance(outer, nn.Sequential) for outer in within):  # in others, shortcuts may lead around it
            chain.append(call.module)
            x, now = call.output, call.ended
    return tuple(chain)


@contextmanager
def bypassed(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Have each of the modules give what it is given, until the block ends."""
    try:
        for module in modules:
            module.__dict__["forward"] = _identity  # ``module.forward = ...`` asks first whether it is a parameter
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward", None)


def _identity(x: Tensor) -> Tensor:
    return x


def _is_still(module: nn.Module) -> bool:
    if any(parameter.requires_grad for parameter in module.parameters()):
        return False
    return not any(is_watched(inner) or norm_trains(inner) for inner in module.modules())


@torch.no_grad()
def _calls(net: nn.Module, run: Callable[[Tensor], Tensor], image: Tensor) -> list[_Call]:
    """Of the modules in ``net``, in the order in which they end."""
    calls: list[_Call] = []
    begun: list[int] = []
    clock = itertools.count()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        begun.append(next(clock))

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        alone = args[0] if len(args) == 1 and not kwargs else None
        calls.append(_Call(module, begun.pop(), next(clock), alone, output))

    # TorchScript's modules take no hooks.
    inner = [module for module in net.modules() if module is not net and not isinstance(module, torch.jit.ScriptModule)]
    handles = [module.register_forward_pre_hook(before, with_kwargs=True) for module in inner]
    handles += [module.register_forward_hook(after, with_kwargs=True) for module in inner]
    try:
        run(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls
