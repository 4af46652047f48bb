"""The table of tolerances is whole: nothing missing, nothing left over, a reason for each."""

from pathlib import Path

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


def test_readme_tells_of_augmented_pixels_that_agree_less_well_than_the_rest() -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    pixels = [key for key in TOLERANCES if all_claims()[parts(key)[0]].number == 10 and parts(key)[0] != "draws"]
    told = readme[readme.index("Not equal, on purpose") : readme.index("## Licence")]
    for value in {TOLERANCES[key].value for key in pixels if 1e-3 < TOLERANCES[key].value < 1}:
        assert f"{value:.0e}".replace("e-0", "e-") in told
    assert "`fill_mode: wrap` on TensorFlow" in told
    assert "share of pixels that differ" in told


def test_unknown_claim_has_none() -> None:
    with pytest.raises(KeyError, match="nothing/float32/torch"):
        find_key("nothing", "", "float32", "torch")
