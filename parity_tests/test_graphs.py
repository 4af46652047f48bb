"""A claim about graphs holds only where each network and phase has had one of its own."""

from torch import nn

from parity_tests.claims.graph import missing


def test_graphs_of_one_do_not_count_for_another() -> None:
    first, second, third = (nn.Identity() for _ in range(3))
    assert missing([(first, second), (first,)], 2) == 0
    assert missing([(first, second), (first, second)], 2) == 1
    assert missing([], 2) == 2
    assert missing([(first,), (second,), (third,)], 2) == 1
