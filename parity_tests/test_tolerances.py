"""The table of tolerances is whole: nothing missing, nothing left over, a reason for each."""

import pytest

from parity_tests.claim import all_claims
from parity_tests.tolerances import TOLERANCES, find_key


def parts(key: str) -> tuple[str, str, str, str]:
    """Claim, variant, dtype and backend of a key; empty where it says nothing."""
    head, _, tail = key.partition("/")
    claim, _, variant = head.partition(":")
    dtype, _, backend = tail.partition("/")
    return claim, variant, dtype, backend


@pytest.mark.parametrize("key", TOLERANCES)
def test_entry_belongs_to_a_claim_and_has_a_reason(key: str) -> None:
    name, _, dtype, backend = parts(key)
    item = all_claims()[name]
    assert dtype in ("", *item.dtypes)
    assert backend in ("", *item.backends)
    assert len(TOLERANCES[key].reason) > 10
    assert 0 <= TOLERANCES[key].value < float("inf")


@pytest.mark.parametrize("name", all_claims())
def test_claim_has_a_tolerance_everywhere(name: str) -> None:
    item = all_claims()[name]
    if any(parts(key)[:1] == (name,) and parts(key)[1] for key in TOLERANCES):
        return  # by variant: looked up when the claim runs
    for backend in item.backends:
        for dtype in item.dtypes:
            assert find_key(name, "", dtype, backend)


def test_unknown_claim_has_none() -> None:
    with pytest.raises(KeyError, match="nothing/float32/torch"):
        find_key("nothing", "", "float32", "torch")
