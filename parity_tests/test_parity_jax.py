"""Every claim about Keras on jax, at every precision that it speaks of."""

from parity_tests.cases import assert_holds, cases


@cases("jax")
def test_claim_holds(name: str, dtype: str) -> None:
    assert_holds(name, "jax", dtype)
