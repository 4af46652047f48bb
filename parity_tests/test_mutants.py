"""Every deliberate mistake is found by each of the claims that it names."""

import pytest

from parity_tests.claim import Skipped, all_claims
from parity_tests.mutants import BACKEND, MUTANTS, killed_by
from parity_tests.processes import installed_backends


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str) -> None:
    if BACKEND not in installed_backends():
        pytest.skip(f"{BACKEND} is not installed")
    try:
        killed = killed_by(MUTANTS[name])
    except Skipped as reason:
        pytest.skip(str(reason))
    assert killed == list(MUTANTS[name].killers), "claims that do not notice"


def test_every_mutant_names_claims_that_there_are() -> None:
    for mutant in MUTANTS.values():
        assert mutant.killers
        assert set(mutant.killers) <= set(all_claims()), mutant.name


def test_every_numbered_claim_is_made() -> None:
    assert {item.number for item in all_claims().values()} == set(range(1, 16))
