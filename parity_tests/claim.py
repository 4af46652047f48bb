"""What a claim is, the list of all of them, and how one is checked."""

import importlib
import math
import os
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

import parity_tests.claims
from parity_tests.processes import BACKENDS, KerasProcess, keras_process
from parity_tests.tolerances import TOLERANCES, find_key

Errors = float | dict[str, float]
Run = Callable[[KerasProcess], Errors]


class Skipped(Exception):  # noqa: N818  # it is no error
    """The claim cannot be examined here; the message says why."""


@dataclass(frozen=True)
class Claim:
    """A sentence about ours and theirs that can be measured.

    Attributes:
        id: short name, as in the table of tolerances.
        number: of the list in the project's plan, 1 to 15.
        statement: one sentence; says of what the error is the largest value.
        backends: Keras backends that it speaks of.
        dtypes: float32, float64, float64-stock.
        run: measures; gets their process and returns the largest error, or one for each named variant.
    """

    id: str
    number: int
    statement: str
    backends: tuple[str, ...]
    dtypes: tuple[str, ...]
    run: Run


@dataclass(frozen=True)
class Result:
    """One row of the report: the largest error of one claim (and variant) on one backend at one precision."""

    claim: str
    variant: str
    backend: str
    dtype: str
    error: float
    tolerance: float
    reason: str

    @property
    def name(self) -> str:
        """Claim and variant."""
        return f"{self.claim}: {self.variant}" if self.variant else self.claim

    @property
    def passed(self) -> bool:
        """An error that is no number passes nothing."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "FAILED"
        return f"{self.name} ({self.backend}, {self.dtype}): {self.error:.2e} of {self.tolerance:.3g} {verdict}"


CLAIMS: dict[str, Claim] = {}


def claim(
    id: str,
    number: int,
    statement: str,
    dtypes: Sequence[str] = ("float32", "float64"),
    backends: Sequence[str] = BACKENDS,
) -> Callable[[Run], Run]:
    """Register the decorated function as the claim's ``run``."""

    def register(run: Run) -> Run:
        assert id not in CLAIMS, f"two claims are called {id}"
        CLAIMS[id] = Claim(id, number, statement, tuple(backends), tuple(dtypes), run)
        return run

    return register


def all_claims() -> dict[str, Claim]:
    """Every claim of ``parity_tests.claims``, by number."""
    for module in pkgutil.iter_modules(parity_tests.claims.__path__):
        importlib.import_module(f"parity_tests.claims.{module.name}")
    return dict(sorted(CLAIMS.items(), key=lambda item: (item[1].number, item[0])))


def check(item: Claim, backend: str, dtype: str) -> list[Result]:
    """Measure a claim: a result for each variant.

    Raises:
        Skipped: it cannot be examined here.
    """
    with one_thread():
        errors = item.run(keras_process(backend, dtype))
    results = []
    for variant, error in (errors if isinstance(errors, dict) else {"": errors}).items():
        allowed = TOLERANCES[find_key(item.id, variant, dtype, backend)]
        number = float(error) if math.isfinite(error) else math.inf
        results.append(Result(item.id, variant, backend, dtype, number, allowed.value, allowed.reason))
    return results


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order on any machine; the tensors are too small for more threads to be faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def assets() -> Path:
    """The folder of real weights and photographs.

    Raises:
        Skipped: LIGHTNING_TL_ASSETS is not set.
    """
    folder = os.environ.get("LIGHTNING_TL_ASSETS")
    if not folder:
        raise Skipped("LIGHTNING_TL_ASSETS is not set: no real weights and photographs")
    return Path(folder)
