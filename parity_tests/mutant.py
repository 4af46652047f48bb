"""What a mutant is, and the means to make one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True)
class Mutant:
    """A deliberate mistake in our side.

    Attributes:
        name: short.
        statement: what is wrong, in one sentence.
        apply: makes a context in which it is wrong.
        killers: ids of the claims that must fail.
    """

    name: str
    statement: str
    apply: Callable[[], AbstractContextManager[Any]]
    killers: tuple[str, ...]


def replaced(*changes: tuple[Any, str, Any]) -> Callable[[], AbstractContextManager[Any]]:
    """A context in which attributes are others: (owner, name, value) each."""

    def apply() -> AbstractContextManager[Any]:
        stack = ExitStack()
        for owner, name, value in changes:
            stack.enter_context(patch.object(owner, name, value))
        return stack

    return apply


def wrapped(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], AbstractContextManager[Any]]:
    """A context in which ``owner.name`` is what ``make`` makes of it."""
    return replaced((owner, name, make(getattr(owner, name))))
