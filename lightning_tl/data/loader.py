"""Loaders: that of training resumes in the middle of an epoch, and the workers of all outlive a SIGTERM."""

import os
import signal
import threading
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from lightning_tl.data.dataset import ImageDataset, Item, KeptImages, Taken
from lightning_tl.data.options import DataOptions
from lightning_tl.data.sampler import EpochSampler, FixedOrderSampler, LateSampler
from lightning_tl.errors import InputError
from lightning_tl.memory import give_back_freed_memory


class LateLoader(DataLoader[Item]):
    """A loader of training that was made before its trainer: ``attach_loader`` makes it a ``ResumableLoader``.

    Where nobody does, Lightning warns that it cannot resume.
    """


class ResumableLoader(DataLoader[Item]):
    """A ``DataLoader`` over an ``EpochSampler`` with the state that Lightning keeps in a checkpoint.

    The state is the number of batches trained on, which the trainer knows; batches that workers have read ahead
    do not count. Set ``trainer`` before training. One that Lightning has made anew, as under ``overfit_batches``, has
    none and another sampler: its epochs begin anew.
    """

    trainer: lightning.Trainer | None = None
    sampler: EpochSampler

    def state_dict(self) -> dict[str, Any]:
        """``batches`` of the epoch that have been trained on, 0 where none is left, each of ``global_batch`` images."""
        if self.trainer is None or not isinstance(self.sampler, EpochSampler):
            return {"batches": 0}
        done, batches = self._progress.processed, int(self.trainer.num_training_batches)
        return {"batches": done % max(1, batches), "global_batch": self.sampler.global_batch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Leave out those batches in the next iteration.

        Raises:
            InputError: they were of another number of images than ours, so that others would be left out.
        """
        if self.trainer is None or not isinstance(self.sampler, EpochSampler):
            return
        batches, ours = int(state_dict["batches"]), self.sampler.global_batch
        theirs = int(state_dict.get("global_batch", ours))  # earlier checkpoints do not say
        if batches and theirs != ours:
            raise InputError(
                f"data.batch_size: the checkpoint is from the middle of an epoch in steps of {theirs} images, all "
                f"devices together, and the rest of it cannot be told in others. Received: {ours}; resume with a "
                f"batch size and a number of devices that make {theirs}, or from a checkpoint between two epochs."
            )
        if theirs != ours and self._progress.processed:
            self._end_epoch()
        self.sampler.skip(batches)

    @property
    def _progress(self) -> Any:
        """Lightning's count of the epoch's batches."""
        assert self.trainer is not None
        return self.trainer.fit_loop.epoch_loop.batch_progress.current

    def _end_epoch(self) -> None:
        """Have Lightning see that no batch is left, where all of the epoch's were fewer than ours are."""
        for name in ("ready", "started", "processed", "completed"):
            setattr(self._progress, name, max(len(self), getattr(self._progress, name)))


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
        trainer: that asks for it; without one, the ranks are those of the processes that use the loader, and it cannot
            resume in the middle of an epoch before ``attach_loader`` has told it its trainer.
    """
    kind = DataLoader if not shuffle else ResumableLoader if trainer else LateLoader
    kept = isinstance(dataset, KeptImages)
    workers = 0 if kept else options.num_workers  # copying a batch costs less than a process to do it
    pinned = computes_on_cuda(trainer) and not (kept and dataset.images.device.type == "cuda")  # type: ignore[union-attr]
    if isinstance(dataset, KeptImages):
        dataset.pinned = pinned
    loader = kind(
        dataset,
        batch_size=batch_size,
        sampler=_sampler(dataset, batch_size, shuffle, options, trainer),
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=Taken.collate if kept else None,
        pin_memory=pinned,
        worker_init_fn=begin_worker,
    )
    if isinstance(loader, ResumableLoader):
        loader.trainer = trainer
    return loader


def attach_loader(trainer: lightning.Trainer) -> None:
    """Tell a loader of training that was made before the trainer, or for an earlier one, whose batches it counts."""
    given = trainer.fit_loop._data_source.instance
    if isinstance(given, (LateLoader, ResumableLoader)):
        given.__class__ = ResumableLoader
        given.trainer = trainer


def _sampler(
    dataset: ImageDataset | KeptImages,
    batch_size: int,
    shuffle: bool,
    options: DataOptions,
    trainer: lightning.Trainer | None,
) -> EpochSampler:
    indices, seed = dataset.indices, options.seed
    if trainer is None:
        divisible = options.batch_size_is == "per_device"
        return LateSampler(dataset, indices, batch_size, shuffle=shuffle, seed=seed, divisible=divisible)
    ranks, rank = trainer.world_size, trainer.global_rank
    if trainer.overfit_batches:  # type: ignore[attr-defined]  # set by a helper
        return FixedOrderSampler(dataset, indices, batch_size, num_replicas=ranks, rank=rank)
    sampler = EpochSampler(dataset, indices, batch_size, shuffle=shuffle, seed=seed, num_replicas=ranks, rank=rank)
    # On resuming, Lightning starts the workers before it tells the sampler the epoch.
    sampler.set_epoch(trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
    return sampler


def computes_on_cuda(trainer: lightning.Trainer | None) -> bool:
    """Whether batches go to a GPU of NVIDIA's: the trainer's, or, without one, any that is there."""
    return torch.cuda.is_available() if trainer is None else trainer.strategy.root_device.type == "cuda"


def begin_worker(worker: int) -> None:
    """What a process that reads images does first: deaf to SIGTERM and Ctrl-C, away from its parent's memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends its workers
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
