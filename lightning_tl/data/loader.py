"""Loaders: that of training resumes in the middle of an epoch, and the workers of all outlive a SIGTERM."""

import os
import signal
import threading
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from lightning_tl.data.dataset import ImageDataset, Item, KeptImages
from lightning_tl.data.options import DataOptions
from lightning_tl.data.sampler import EpochSampler, FixedOrderSampler
from lightning_tl.memory import give_back_freed_memory


class ResumableLoader(DataLoader[Item]):
    """A ``DataLoader`` over an ``EpochSampler`` with the state that Lightning keeps in a checkpoint.

    The state is the number of batches trained on, which the trainer knows; batches that workers have read ahead
    do not count. Set ``trainer`` before training.
    """

    trainer: lightning.Trainer | None = None

    def state_dict(self) -> dict[str, Any]:
        """``batches``: how many of the epoch have been trained on; 0 between epochs."""
        if self.trainer is None:
            return {"batches": 0}
        done: int = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
        return {"batches": done % int(self.trainer.num_training_batches)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Leave out those batches in the next iteration."""
        if isinstance(self.sampler, EpochSampler):
            self.sampler.skip(int(state_dict["batches"]))


def make_loader(
    dataset: ImageDataset | KeptImages,
    batch_size: int,
    shuffle: bool,
    options: DataOptions,
    trainer: lightning.Trainer | None,
) -> DataLoader[Item]:
    """Batches of a data set, divided among the ranks of the trainer.

    Args:
        dataset: decoded in ``options.num_workers`` processes; images that are kept need none.
        batch_size: of one device, in images.
        shuffle: in the order of the epoch, in a loader that can resume; else in the order of the data set.
        options: of the run.
        trainer: that asks for it; without one there is one rank.
    """
    kind = ResumableLoader if shuffle else DataLoader
    kept = isinstance(dataset, KeptImages)
    workers = 0 if kept else options.num_workers  # copying a batch costs less than a process to do it
    loader = kind(
        dataset,
        batch_size=batch_size,
        sampler=_sampler(dataset, batch_size, shuffle, options.seed, trainer),
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=KeptImages.collate if kept else None,
        pin_memory=computes_on_cuda(trainer) and not (kept and dataset.images.device.type == "cuda"),  # type: ignore[union-attr]
        worker_init_fn=begin_worker,
    )
    if isinstance(loader, ResumableLoader):
        loader.trainer = trainer
    return loader


def _sampler(
    dataset: ImageDataset | KeptImages, batch_size: int, shuffle: bool, seed: int, trainer: lightning.Trainer | None
) -> EpochSampler:
    if trainer is None:
        return EpochSampler(dataset, dataset.indices, batch_size, shuffle=shuffle, seed=seed)
    ranks, rank = trainer.world_size, trainer.global_rank
    if trainer.overfit_batches:  # type: ignore[attr-defined]  # set by a helper
        return FixedOrderSampler(dataset, dataset.indices, batch_size, num_replicas=ranks, rank=rank)
    sampler = EpochSampler(
        dataset, dataset.indices, batch_size, shuffle=shuffle, seed=seed, num_replicas=ranks, rank=rank
    )
    # On resuming, Lightning starts the workers before it tells the sampler the epoch.
    sampler.set_epoch(trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
    return sampler


def computes_on_cuda(trainer: lightning.Trainer | None) -> bool:
    """Whether batches go to a GPU of NVIDIA's: the trainer's, or, without one, any that is there."""
    return torch.cuda.is_available() if trainer is None else trainer.strategy.root_device.type == "cuda"


def begin_worker(worker: int) -> None:
    """What a process that reads images does first: it turns deaf to SIGTERM, and away from its parent's memory."""
    outlive_sigterm()
    give_back_freed_memory()


def outlive_sigterm() -> None:
    """Let the main process, which is told to end as well, save a checkpoint before its workers go.

    Schedulers send SIGTERM to every process of a job; a worker obeys it from its own main process alone, which ends
    its workers in this way. Where the sender cannot be told (macOS, Windows), a worker ends as others do.
    """
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the main process says so."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
