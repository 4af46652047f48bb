"""Every deliberate mistake is found by each of the claims that it names."""

from dataclasses import replace

import pytest

from parity_tests.claim import CLAIMS, Skipped, all_claims
from parity_tests.mutant import Mutant, replaced
from parity_tests.mutants import MUTANTS, backend_of, killed_by
from parity_tests.processes import installed_backends


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str) -> None:
    backends = {backend_of(all_claims()[claim]) for claim in MUTANTS[name].killers}
    if missing := backends - set(installed_backends()):
        pytest.skip(f"not installed: {', '.join(missing)}")
    try:
        killed = killed_by(MUTANTS[name])
    except Skipped as reason:
        pytest.skip(str(reason))
    assert killed == list(MUTANTS[name].killers), "claims that do not notice"


def test_a_mistake_that_only_breaks_the_comparison_kills_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(theirs: object) -> float:
        raise ValueError("no number")

    monkeypatch.setitem(CLAIMS, "dropout", replace(all_claims()["dropout"], run=broken))
    with pytest.raises(ValueError, match="no number"):
        killed_by(Mutant("broken", "raises", replaced(), ("dropout",)))


def test_keras_own_split_and_decoder_meet_a_mistake() -> None:
    killers = {name for mutant in MUTANTS.values() for name in mutant.killers}
    assert {"split-keras", "decode-jpeg", "resize-png"} <= killers


def test_every_mutant_names_claims_that_there_are() -> None:
    for mutant in MUTANTS.values():
        assert mutant.killers
        assert set(mutant.killers) <= set(all_claims()), mutant.name


def test_every_numbered_claim_is_made() -> None:
    assert {item.number for item in all_claims().values()} == set(range(1, 16))
