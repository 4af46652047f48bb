"""What is computed from a network's tensors, as one value: as long as it is the same, nothing need be computed anew."""

from collections.abc import Sequence
from itertools import chain, compress, repeat
from operator import attrgetter, contains, methodcaller, not_
from typing import Any

from torch import Tensor, nn

_REQUIRES_GRAD, _VERSION, _VALUES = attrgetter("requires_grad"), attrgetter("_version"), methodcaller("values")


class Value(list[Any]):
    """A fingerprint, equal to another as lists are.

    Attributes:
        held: the tensors that it is of, which live as long as it: no other one gets the identity of one of them.
        trains: whether one of them does.
    """

    held: Sequence[Tensor | None] = ()
    trains = False


class Fingerprint:
    """Of a network and its tensors; a seventh of a millisecond for MobileNetV2, so that every batch can ask for it.

    It is another one when a tensor was written to or is another, trains or does no longer, when a module was replaced,
    pruned, parametrized or is watched otherwise, and for another epsilon or mode. Writing through ``tensor.data``
    leaves no trace, nor does writing to a tensor made in inference mode.

    Args:
        net: the network.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._look()

    def take(self, numbers_that_train: bool) -> Value:
        """The value now.

        Args:
            numbers_that_train: whether it is another one too when a tensor that trains was written to.
        """
        if any(self._empty) or _ids(self._children) != self._tree:
            self._look()
        tree = self._tree
        held: list[Tensor | None] = list(chain.from_iterable(map(_VALUES, self._tensors)))
        tensors = [tensor for tensor in held if tensor is not None]
        trains = list(map(_REQUIRES_GRAD, tensors))
        numbers = tensors if numbers_that_train else list(compress(tensors, map(not_, trains)))
        value = Value(
            (
                *tree,
                *map(id, held),
                *(map(len, self._hooks) if any(self._hooks) else ()),
                *map(contains, self._own, repeat("forward")),
                *[own.get("training") for own in self._own],  # which TorchScript's modules do not keep there
                *[own["eps"] for own in self._norms],
                *trains,
                *map(Tensor.data_ptr, numbers),
                *_versions(numbers),
            )
        )
        value.held, value.trains = held, any(trains)
        return value

    def __getstate__(self) -> dict[str, Any]:
        """A copy's is that of its own network."""
        return {"net": self.net}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Look at the copy."""
        self.__init__(state["net"])  # type: ignore[misc]

    def _look(self) -> None:
        """Where the modules that there are now keep what is asked for."""
        modules = self._modules = tuple(self.net.modules())  # kept, so that no other module gets the identity of one
        self._own = [module.__dict__ for module in modules]
        self._norms = [own for own in self._own if "eps" in own]
        held = [of for module in modules for of in (module._parameters, module._buffers)]
        children = [module._modules for module in modules]
        self._tensors, self._children = ([of for of in kind if len(of)] for kind in (held, children))
        self._empty: list[Any] = [of for of in (*held, *children) if not len(of)]  # most of them, and soon asked
        self._hooks: list[Any] = [hooks for module in modules for hooks in hooks_of(module)]
        self._tree = _ids(self._children)


def hooks_of(module: nn.Module) -> tuple[Any, ...]:
    """All that look at what this very module is given, or gives, forwards and backwards."""
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks


def _ids(children: list[dict[str, Any]]) -> list[int]:
    return list(map(id, chain.from_iterable(map(_VALUES, children))))


def written(tensor: Tensor) -> tuple[int, int]:
    """Where it is and how often it was written to (not counted in inference mode): another when its numbers may be."""
    return tensor.data_ptr(), _versions([tensor])[0]


def _versions(tensors: list[Tensor]) -> list[int]:
    try:
        return list(map(_VERSION, tensors))
    except RuntimeError:  # one of them was made in inference mode
        return [0 if tensor.is_inference() else tensor._version for tensor in tensors]
