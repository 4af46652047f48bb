"""The claims as test cases; each backend has a test file, so that they can run beside one another."""

import pytest

from parity_tests.claim import Skipped, all_claims, check
from parity_tests.processes import installed_backends

SLOW = {
    "float64": (
        "forward-large", "forward-real", "trajectory", "trajectory-augmented", "trajectory-real", "trajectory-timm",
    ),
    "float64-stock": ("forward-stock",),
    "float32": (
        "forward-large", "forward-graph", "forward-graph-real", "export", "trajectory-timm", "trajectory-graph",
        "graph-of-each-phase",
    ),
}  # fmt: skip
"""Claims that take a tenth of a minute or more: on torch always; on the others, which meet it in other claims, with
``--slow``. Graphs and timm's network are of our side alone, and what they are held against is in ``trajectory`` too."""
SLOW_ON_TORCH = {"float64": ("forward-large", "trajectory", "trajectory-real")}
"""With ``--slow`` on torch too: trajectory-augmented is trajectory with more in it, and float32 meets the others."""


def cases(backend: str) -> pytest.MarkDecorator:
    """Parametrizes ``name`` and ``dtype`` over every claim about this backend."""
    pairs = [(name, dtype) for name, item in all_claims().items() if backend in item.backends for dtype in item.dtypes]
    marked = [pytest.param(name, dtype, marks=_marks(backend, name, dtype)) for name, dtype in pairs]
    return pytest.mark.parametrize(("name", "dtype"), marked, ids=["-".join(pair) for pair in pairs])


def _marks(backend: str, name: str, dtype: str) -> list[pytest.MarkDecorator]:
    slow = SLOW_ON_TORCH if backend == "torch" else SLOW
    return [pytest.mark.slow] if name in slow.get(dtype, ()) else []


def assert_holds(name: str, backend: str, dtype: str) -> None:
    """The claim's errors are within tolerance; skips where it cannot be examined."""
    if backend not in installed_backends():
        pytest.skip(f"{backend} is not installed")
    try:
        results = check(all_claims()[name], backend, dtype)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert results, "a claim that compares nothing"
    failed = [str(result) for result in results if not result.passed]
    assert not failed, "\n".join(failed)
