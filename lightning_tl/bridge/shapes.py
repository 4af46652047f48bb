"""Whether tensors fit a network: one comparison, one message, for every kind of weights file."""

from collections.abc import Collection, Mapping
from typing import Any

from lightning_tl.errors import InputError

COUNTERS = "num_batches_tracked"
"""torch's BatchNorm step counter: unused in inference mode, absent in Keras and in old torch files."""


def check_state(expected: Mapping[str, Any], state: Mapping[str, Any], what: str, sizes: str = "") -> None:
    """Raise unless ``state`` has exactly the tensors of ``expected``, in name and shape.

    Args:
        expected: name to shape, or to anything with a ``shape``.
        state: what was read; values have a ``shape`` or are shapes. ``num_batches_tracked`` is never compared.
        what: opens the message: the file, and the network that it was meant for.
        sizes: closes it where shapes alone differ, which another image size may have done.

    Raises:
        InputError: naming missing, unexpected and misshapen tensors (the first three of each).
    """
    wanted, got = _shapes(expected), _shapes(state)
    misshapen = [
        f"{name} is {got[name]} instead of {wanted[name]}"
        for name in wanted
        if name in got and got[name] != wanted[name]
    ]
    problems = [
        _some("missing", [name for name in wanted if name not in got], len(wanted)),
        _some("unexpected", [name for name in got if name not in wanted], len(got)),
        _some("of another shape", misshapen, len(wanted)),
    ]
    if any(problems):
        sizes = "" if any(problems[:2]) else sizes
        raise InputError(
            f"{what}: weights of another architecture{' or image size' if sizes else ''}? "
            f"{'; '.join(filter(None, problems))}. {f'{sizes} ' if sizes else ''}"
            "Give weights of this backbone and width, or weights: none for random ones."
        )


def mismatches(expected: Mapping[str, Any], state: Mapping[str, Any]) -> int:
    """How many of the ``expected`` tensors are missing from ``state`` or have another shape there."""
    wanted, got = _shapes(expected), _shapes(state)
    return sum(got.get(name) != shape for name, shape in wanted.items())


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(getattr(tensor, "shape", tensor)) for name, tensor in tensors.items() if not name.endswith(COUNTERS)
    }


def _some(kind: str, items: Collection[str], total: int) -> str:
    if not items:
        return ""
    shown = ", ".join(list(items)[:3])
    return f"{len(items)} of {total} tensors {kind} ({shown}{', …' if len(items) > 3 else ''})"
