"""The training loader: it resumes in the middle of an epoch, and its workers outlive a SIGTERM."""

import os
import signal
import threading
from typing import Any

import lightning
from torch.utils.data import DataLoader

from lightning_tl.data.dataset import Item
from lightning_tl.data.sampler import EpochSampler


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


def outlive_sigterm(worker: int) -> None:
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
