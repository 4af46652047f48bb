"""Loaders that are made before there is a trainer, in a run on several devices."""

from collections.abc import Callable
from pathlib import Path

import pytest
from data_modules import flat, module
from torch.utils.data import DistributedSampler

from lightning_tl.data import Item
from lightning_tl.errors import InputError

Ranks = Callable[[int, int], None]


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """A function after which this process is one of so many."""

    def joined(ranks: int, rank: int) -> None:
        monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
        monkeypatch.setattr("torch.distributed.get_world_size", lambda: ranks)
        monkeypatch.setattr("torch.distributed.get_rank", lambda: rank)

    return joined


def indices(batches: list[Item]) -> list[list[int]]:
    return [batch["index"].tolist() for batch in batches]


def test_ranks_that_join_later_share_the_batches_of_one_process(root: Path, join: Ranks) -> None:
    data = module(root)
    whole = indices(list(module(root, batch_size=8).train_dataloader()))
    train, val = data.train_dataloader(), data.val_dataloader()
    once = flat(indices(list(val)))
    assert isinstance(train.sampler, DistributedSampler), "Lightning would replace it"
    assert len(train) == 4
    parts, validated = [], []
    for rank in (0, 1):
        join(2, rank)
        assert len(train) == 2
        parts.append(indices(list(train)))
        validated.append(indices(list(val)))
    assert [first + second for first, second in zip(*parts, strict=True)] == whole
    assert sorted(flat(validated[0] + validated[1])) == once


def test_a_global_batch_that_can_no_longer_be_divided_is_refused(root: Path, join: Ranks) -> None:
    loader = module(root, batch_size_is="global").train_dataloader()
    join(1, 0)
    assert len(loader) == 4
    join(2, 0)
    with pytest.raises(InputError, match="all 4 images of a global batch on one device, and the run has 2. Received"):
        len(loader)
