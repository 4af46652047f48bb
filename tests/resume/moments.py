"""The moments at which the tests beside this end a run."""

import atexit
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback


class At(Callback):
    """Sends its own process a signal in one hook; given to the command line as ``trainer.callbacks``.

    Args:
        hook: on_train_epoch_start, on_train_batch_start, on_train_batch_end, on_validation_batch_end or
            on_predict_batch_start; or sanity_check for the validation before training.
        epoch: of the run, from 0.
        batch: of the epoch, from 0.
        number: of the signal; SIGKILL cannot be caught.
        group: send it to the process's group, so to those that read its images too.
        linger: seconds that the first rank takes to end after all else.
    """

    def __init__(
        self,
        hook: str,
        epoch: int,
        batch: int = 0,
        number: int = int(signal.SIGKILL),
        group: bool = False,
        linger: int = 0,
    ) -> None:
        self.moment, self.number, self.group, self.linger = (hook, epoch, batch), number, group, linger

    def _at(self, trainer: lightning.Trainer, hook: str, batch: int = 0) -> None:
        if (hook, trainer.current_epoch, batch) != self.moment:
            return
        if trainer.is_global_zero:
            atexit.register(time.sleep, self.linger)
        if self.group:  # from a process that is none of the job's, as a scheduler is
            subprocess.run([sys.executable, "-c", f"import os; os.killpg({os.getpgrp()}, {self.number})"], check=False)
        else:
            os.kill(os.getpid(), self.number)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._at(trainer, "on_train_epoch_start")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._at(trainer, "on_train_batch_start", batch_idx)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._at(trainer, "on_train_batch_end", batch_idx)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._at(trainer, "sanity_check" if trainer.sanity_checking else "on_validation_batch_end", batch_idx)

    def on_predict_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._at(trainer, "on_predict_batch_start", batch_idx)


def plant(moment: dict[str, Any]) -> None:
    """End this process at one of its calls to the system, as Python's own audit events report them beforehand.

    Args:
        moment: ``{"event": "os.link" or "os.rename", "name": of the new file, "count": which of these calls}`` ends
            it just before that call; with ``"write": BYTES`` the system ends it when it next writes more
            than so many bytes into one file. Empty: nothing happens.
    """
    left = moment.get("count", 1)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event != moment["event"] or Path(os.fsdecode(arguments[1])).name != moment["name"]:
            return
        left -= 1
        if left == 0 and "write" in moment:
            _limit_files(moment["write"])
        elif left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if moment:
        sys.addaudithook(audit)


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
