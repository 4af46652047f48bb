"""Deliberate mistakes in our side, one at a time; each names the claims that must then fail.

A mutant that leaves all of its claims standing is a hole in the suite.
"""

from parity_tests.claim import Claim, all_claims, check
from parity_tests.mutant import Mutant
from parity_tests.mutants_data import MUTANTS_DATA
from parity_tests.mutants_head import MUTANTS_HEAD
from parity_tests.mutants_model import MUTANTS_MODEL
from parity_tests.mutants_training import MUTANTS_TRAINING

MUTANTS: dict[str, Mutant] = {
    mutant.name: mutant for mutant in (*MUTANTS_MODEL, *MUTANTS_HEAD, *MUTANTS_TRAINING, *MUTANTS_DATA)
}

BACKEND = "torch"
"""Keras' side is the same as without a mutant, so one backend's known answers are enough."""


def backend_of(item: Claim) -> str:
    """Where a claim meets its mutants: some are about what TensorFlow alone does."""
    return BACKEND if BACKEND in item.backends else item.backends[0]


def killed_by(mutant: Mutant) -> list[str]:
    """Those of the mutant's claims that fail under it.

    Raises:
        Skipped: none of them can be examined here.
    """
    claims = [all_claims()[name] for name in mutant.killers]
    with mutant.apply():
        return [item.id for item in claims if fails(item)]


def fails(item: Claim) -> bool:
    """Whether the claim fails in float64, where it has that, or else as it can.

    By its number alone: a mistake that stops the comparison has not been measured, and whatever it raises comes out.
    """
    dtype = "float64" if "float64" in item.dtypes else item.dtypes[0]
    return not all(result.passed for result in check(item, backend_of(item), dtype))
