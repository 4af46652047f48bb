"""The order of an epoch and each rank's share of it, as pure functions of seed and epoch."""

from collections.abc import Iterator, Sized

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler, SequentialSampler

from lightning_tl.draws import epoch_order


class EpochSampler(DistributedSampler[int]):
    """Deals out global batches: in each step N ranks see what one process with N times the batch sees.

    The order of an epoch is cut into global batches of ``batch_size * num_replicas``; rank r takes the r-th
    contiguous part of each. The last, smaller one is dealt out in equal parts; when it does not divide, the
    last ranks get padding, since all ranks must step together: ``~position`` (below zero) of its last sample,
    which ``ImageDataset`` gives the index ``PADDING`` and losses and metrics leave out. Every sample counts once.

    Lightning replaces other samplers in distributed runs; subclasses of ``DistributedSampler`` it leaves
    alone and tells them the epoch.

    Args:
        dataset: only its length is used.
        indices: position of each item in the split file, int64, shape (items,), ascending.
        batch_size: per rank.
        shuffle: in the order of ``lightning_tl.draws.epoch_order``; otherwise in the data set's.
        seed: of the run.
        num_replicas: number of ranks.
        rank: this process's, from 0.
    """

    def __init__(
        self,
        dataset: Sized,
        indices: Tensor,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.indices = indices
        self.batch_size = batch_size
        self._skipped_batches = 0
        self.num_samples = sum(len(part) for part in self._parts(torch.arange(len(indices))))
        self.total_size = len(indices)

    def skip(self, batches: int) -> None:
        """Leave out this rank's first batches in the next iteration only: resuming in the middle of an epoch.

        The length stays that of the whole epoch.
        """
        self._skipped_batches = batches

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        positions = torch.cat(self._parts(self._order()))
        skipped, self._skipped_batches = self._skipped_batches * self.batch_size, 0
        return iter(positions[skipped:].tolist())

    def _order(self) -> Tensor:
        """Positions in the data set, in this epoch's order over all ranks."""
        if not self.shuffle:
            return torch.arange(len(self.indices))
        order = epoch_order(self.seed, self.epoch, self.indices)
        return torch.searchsorted(self.indices, order)

    def _parts(self, order: Tensor) -> list[Tensor]:
        """This rank's part of every global batch."""
        return [self._part(batch) for batch in torch.split(order, self.batch_size * self.num_replicas)]

    def _part(self, batch: Tensor) -> Tensor:
        share = -(-len(batch) // self.num_replicas)
        part = batch[self.rank * share : (self.rank + 1) * share]
        return torch.cat([part, ~batch[-1:].expand(share - len(part))])


class FixedOrderSampler(EpochSampler, SequentialSampler):
    """An ``EpochSampler`` that Lightning leaves alone under ``overfit_batches``: it wants a ``SequentialSampler``.

    A plain one would become Lightning's own ``DistributedSampler`` on several ranks: it counts samples twice where they
    do not divide, and gives ranks other numbers of batches to predict, which then wait for one another for ever.
    """

    def __init__(
        self, dataset: Sized, indices: Tensor, batch_size: int, *, num_replicas: int = 1, rank: int = 0
    ) -> None:
        super().__init__(dataset, indices, batch_size, shuffle=False, num_replicas=num_replicas, rank=rank)
