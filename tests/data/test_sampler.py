import pytest
import torch
from torch.utils.data import SequentialSampler

from lightning_tl.data.sampler import EpochSampler, FixedOrderSampler
from lightning_tl.draws import epoch_order


def sampler(count: int, batch_size: int, **options: object) -> EpochSampler:
    return EpochSampler(range(count), torch.arange(count), batch_size, **options)  # type: ignore[arg-type]


def batches(one: EpochSampler) -> list[list[int]]:
    items = list(one)
    return [items[start : start + one.batch_size] for start in range(0, len(items), one.batch_size)]


def test_training_order_is_that_of_the_draws() -> None:
    one = sampler(50, 8, shuffle=True, seed=3)
    for epoch in (0, 1, 7):
        one.set_epoch(epoch)
        assert list(one) == epoch_order(3, epoch, torch.arange(50)).tolist()


def test_order_follows_the_index_in_the_split_file() -> None:
    """Items whose rows are interleaved with other splits: drawn by their row, given by their place."""
    indices = torch.tensor([1, 4, 5, 9, 20])
    one = EpochSampler(range(5), indices, 2, shuffle=True, seed=0)
    assert indices[list(one)].tolist() == epoch_order(0, 0, indices).tolist()


def test_evaluation_is_in_order() -> None:
    one = sampler(5, 2, shuffle=False)
    one.set_epoch(4)
    assert list(one) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("count", [24, 25, 37, 5])
def test_ranks_together_see_what_one_process_sees(ranks: int, count: int) -> None:
    whole = batches(sampler(count, 4 * ranks, shuffle=True, seed=1))
    parts = [batches(sampler(count, 4, shuffle=True, seed=1, num_replicas=ranks, rank=r)) for r in range(ranks)]
    assert {len(part) for part in parts} == {len(whole)}
    for step, expected in enumerate(whole):
        together = [item for part in parts for item in part[step]]
        padding = len(together) - len(expected)
        assert together == expected + [~expected[-1]] * padding
        assert 0 <= padding < ranks
        assert {len(part[step]) for part in parts} == {len(together) // ranks}


@pytest.mark.parametrize("count", [24, 25, 37, 5, 1])
def test_evaluation_sees_everything_once(count: int) -> None:
    parts = [sampler(count, 4, shuffle=False, num_replicas=3, rank=rank) for rank in range(3)]
    assert sorted(item for part in parts for item in part if item >= 0) == list(range(count))
    assert len({len(list(part)) for part in parts} | {len(part) for part in parts}) == 1, "ranks must step together"


def test_skip_leaves_out_batches_once() -> None:
    one = sampler(20, 3, shuffle=True, num_replicas=2, rank=1)
    whole = list(one)
    one.skip(2)
    assert len(one) == len(whole)
    assert list(one) == whole[6:]
    assert list(one) == whole


def test_an_empty_set() -> None:
    assert list(sampler(0, 4, shuffle=False)) == []


def test_a_fixed_order_is_that_of_the_data_set_and_lightning_takes_it_for_sequential() -> None:
    parts = [FixedOrderSampler(range(9), torch.arange(9), 4, num_replicas=2, rank=rank) for rank in (0, 1)]
    for part in parts:
        part.set_epoch(3)
        assert isinstance(part, SequentialSampler)
    assert [batches(part) for part in parts] == [[[0, 1, 2, 3], [8]], [[4, 5, 6, 7], [~8]]]
