"""Deliberate mistakes in our side, one at a time; each names the claims that must then fail.

A mutant that leaves all of its claims standing is a hole in the suite.
"""

from parity_tests.claim import Claim, Skipped, all_claims, check
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


def killed_by(mutant: Mutant) -> list[str]:
    """Those of the mutant's claims that fail under it.

    Raises:
        Skipped: none of them can be examined here.
    """
    claims = [all_claims()[name] for name in mutant.killers]
    with mutant.apply():
        return [item.id for item in claims if fails(item)]


def fails(item: Claim) -> bool:
    """Whether the claim fails in float64, where it has that, or else as it can; an error is a failure too."""
    dtype = "float64" if "float64" in item.dtypes else item.dtypes[0]
    try:
        return not all(result.passed for result in check(item, BACKEND, dtype))
    except Skipped:
        raise
    except Exception:  # a mistake may also break the comparison itself
        return True
