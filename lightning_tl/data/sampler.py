"""The order of an epoch and each rank's share of it, as pure functions of seed and epoch."""

from collections.abc import Iterator, Sized

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler, SequentialSampler

from lightning_tl.draws import epoch_order
from lightning_tl.errors import InputError


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
        self.total_size = len(indices)
        self.divide(num_replicas, rank)

    @property
    def global_batch(self) -> int:
        """Images of all ranks in a step."""
        return self.batch_size * self.num_replicas

    def divide(self, num_replicas: int, rank: int) -> None:
        """Deal out to so many ranks, of which this process is ``rank``."""
        self.num_replicas, self.rank = num_replicas, rank
        self.num_samples = sum(len(part) for part in self._parts(torch.arange(len(self.indices))))

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
        return [self._part(batch) for batch in torch.split(order, self.global_batch)]

    def _part(self, batch: Tensor) -> Tensor:
        share = -(-len(batch) // self.num_replicas)
        part = batch[self.rank * share : (self.rank + 1) * share]
        return torch.cat([part, ~batch[-1:].expand(share - len(part))])


class LateSampler(EpochSampler):
    """An ``EpochSampler`` that learns when it is used how many ranks there are: as many as processes have joined.

    For loaders that are made before there is a trainer. One that knew of a single rank would have every rank of a later
    run train on the same batches, since Lightning leaves it alone as it does other ``EpochSampler``s.

    Args:
        dataset: only its length is used.
        indices: as for ``EpochSampler``.
        batch_size: per rank.
        shuffle: as for ``EpochSampler``.
        seed: of the run.
        divisible: whether ``batch_size`` may be that of each of several ranks; else it is that of all together, which
            the loader could no longer divide.

    Raises:
        InputError: in use, by several ranks of a batch size that is not divisible.
    """

    def __init__(
        self, dataset: Sized, indices: Tensor, batch_size: int, *, shuffle: bool, seed: int, divisible: bool
    ) -> None:
        super().__init__(dataset, indices, batch_size, shuffle=shuffle, seed=seed)
        self._divisible = divisible

    def __len__(self) -> int:
        self._join()
        return super().__len__()

    def __iter__(self) -> Iterator[int]:
        self._join()
        return super().__iter__()

    def _join(self) -> None:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        ranks = torch.distributed.get_world_size()
        if ranks > 1 and not self._divisible:
            raise InputError(
                f"data.batch_size_is: a loader made before the trainer has all {self.batch_size} images of a global "
                f"batch on one device, and the run has {ranks}. Received: global; give the trainer the data module "
                "itself, or set data.batch_size_is to per_device."
            )
        self.divide(ranks, torch.distributed.get_rank())


class FixedOrderSampler(EpochSampler, SequentialSampler):
    """An ``EpochSampler`` that Lightning leaves alone under ``overfit_batches``: it wants a ``SequentialSampler``.

    A plain one would become Lightning's own ``DistributedSampler`` on several ranks: it counts samples twice where they
    do not divide, and gives ranks other numbers of batches to predict, which then wait for one another for ever.
    """

    def __init__(
        self, dataset: Sized, indices: Tensor, batch_size: int, *, num_replicas: int = 1, rank: int = 0
    ) -> None:
        super().__init__(dataset, indices, batch_size, shuffle=False, num_replicas=num_replicas, rank=rank)
