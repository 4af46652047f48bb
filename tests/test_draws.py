"""The draws against their definition in plain integers, and their statistics."""

import pytest
import torch
from torch import Tensor

from lightning_tl import draws

MASK = (1 << 64) - 1


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def fold(key: int, word: int) -> int:
    return mix((key + (word + 1) * 0x9E3779B97F4A7C15) & MASK)


def bits(*words: int) -> int:
    key = 0
    for word in words:
        key = fold(key, word)
    return key


def drawn(seed: int, stream: int, epoch: int, samples: int, count: int) -> Tensor:
    return draws.uniforms(draws.stream_key(seed, stream, epoch), torch.arange(samples), count)


def correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1])


def test_the_first_output_is_that_of_published_splitmix64() -> None:
    # The first value of SplitMix64 with seed 0, as xoshiro's and Java's test vectors have it.
    assert bits(0) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31, 2**63 + 5])
@pytest.mark.parametrize("stream", [draws.ORDER, draws.AUGMENT + 3])
def test_uniforms_follow_the_definition(seed: int, stream: int) -> None:
    index = torch.tensor([0, 1, 2, 3999, 2**31, 2**40])
    ours = draws.uniforms(draws.stream_key(seed, stream, 7), index, 5)
    theirs = [[(bits(seed, stream, 7, i, j) >> 40) / 2**24 for j in range(5)] for i in index.tolist()]
    assert ours.dtype == torch.float32
    assert ours.tolist() == theirs


def test_several_streams_are_drawn_as_each_alone() -> None:
    keys = [draws.stream_key(3, draws.AUGMENT + place, 7) for place in range(4)]
    index = torch.tensor([0, 5, 2**40])
    alone = torch.stack([draws.uniforms(key, index, 3) for key in keys])
    assert torch.equal(draws.uniforms(torch.tensor(keys)[:, None], index, 3), alone)


def test_the_order_follows_the_definition() -> None:
    index = torch.tensor([9, 3, 500, 12, 40, 41, 42])
    theirs = sorted(index.tolist(), key=lambda i: bits(3, draws.ORDER, 2, i) >> 1)
    assert draws.epoch_order(3, 2, index).tolist() == theirs


def test_an_order_is_a_permutation_that_changes_with_epoch_and_seed() -> None:
    index = torch.arange(1000)
    orders = [draws.epoch_order(seed, epoch, index) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(torch.equal(order.sort().values, index) for order in orders)
    same_place = [(orders[0] == other).sum().item() for other in orders[1:]]
    assert max(same_place) < 10  # a random permutation of any length has one fixed point on average


def test_draws_of_a_sample_do_not_depend_on_its_batch() -> None:
    whole = drawn(0, draws.AUGMENT, 0, 100, 4)
    key = draws.stream_key(0, draws.AUGMENT, 0)
    assert torch.equal(draws.uniforms(key, torch.tensor([70, 3]), 4), whole[[70, 3]])
    assert torch.equal(draws.uniforms(key, torch.arange(100), 2), whole[:, :2])
    assert torch.equal(drawn(0, draws.AUGMENT, 0, 100, 4), whole)


def test_small_integer_types_draw_the_same() -> None:
    key = draws.stream_key(0, draws.AUGMENT, 0)
    index = torch.arange(100)
    assert torch.equal(draws.uniforms(key, index.to(torch.int32), 3), draws.uniforms(key, index, 3))


def test_uniforms_are_uniform() -> None:
    values = drawn(0, draws.AUGMENT, 0, 100_000, 4).flatten()
    assert values.min() >= 0
    assert values.max() < 1
    counts = torch.histc(values, 100, 0.0, 1.0)
    expected = values.numel() / 100
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert 57 < chi_square < 150  # 99 degrees of freedom: outside with probability below 1e-3 on either side


@pytest.mark.parametrize("bit", range(24))
def test_every_bit_is_fair(bit: int) -> None:
    values = (drawn(0, draws.AUGMENT, 0, 50_000, 2) * 2**24).to(torch.int64)
    share = ((values >> bit) & 1).double().mean().item()
    assert abs(share - 0.5) < 4.5 * 0.5 / values.numel() ** 0.5


@pytest.mark.parametrize("other", [(1, 2, 0), (0, 3, 0), (0, 2, 1), (2, 2, 0)])
def test_streams_epochs_and_seeds_are_independent(other: tuple[int, int, int]) -> None:
    first, second = drawn(0, 2, 0, 50_000, 2), drawn(*other, 50_000, 2)
    assert abs(correlation(first, second)) < 4.5 / first.numel() ** 0.5


def test_neighbouring_samples_and_draws_are_independent() -> None:
    values = drawn(0, draws.AUGMENT, 0, 50_000, 3)
    bound = 4.5 / 50_000**0.5
    assert abs(correlation(values[1:], values[:-1])) < bound
    assert abs(correlation(values[:, 1], values[:, 0])) < bound
    assert abs(correlation(values[1:, 0], values[:-1, 1])) < bound  # no diagonal: index and draw do not add up


def test_compiles_whole_and_once_for_all_epochs() -> None:
    compiled = torch.compile(draws.uniforms, fullgraph=True, backend="aot_eager")
    index = torch.arange(16)
    for epoch in range(3):
        key = draws.stream_key(0, draws.AUGMENT, epoch)
        with torch._dynamo.config.patch(error_on_recompile=epoch > 0):
            assert torch.equal(compiled(torch.tensor(key), index, 3), draws.uniforms(key, index, 3))
