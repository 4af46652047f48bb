"""Checkpoints that a run continues from bit for bit, whenever it was killed."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import lightning
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint, Timer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from lightning_tl.best_checkpoint import stops_inside_an_epoch
from lightning_tl.errors import InputError
from lightning_tl.files import replacing
from lightning_tl.locking import alone
from lightning_tl.runfolder import LAST, PREVIOUS, writing
from lightning_tl.sigterm import Sigterm

StrPath = str | Path
LOCK = ".lock"
"""Beside the checkpoints of a run that is training."""
STOPPED = "stopped_in_epoch"
"""Key in a checkpoint of a trainer that was told to stop in the middle of an epoch, counted from 0."""


class RunCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, and only what loads again without running code in it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: StrPath, storage_options: Any = None) -> None:
        """Write beside ``path``, flush to the disk, read back, then rename.

        Raises:
            InputError: the folder cannot be written, or its disk is full.
            pickle.UnpicklingError: something in the checkpoint is neither tensor nor plain value.
        """
        try:
            with replacing(path) as temporary:
                torch.save(checkpoint, temporary)
                torch.load(temporary, map_location="cpu", weights_only=True, mmap=True)
        except (OSError, RuntimeError) as error:  # RuntimeError is torch's word for a full disk
            last = Path(path).with_name(LAST)
            goes_on = f" {last} continues the run." if last.is_file() else ""
            raise InputError(
                f"the checkpoint {path} cannot be written: {str(error).splitlines()[0]}. See that its disk has room, "
                f"and may be written to.{goes_on}"
            ) from error

    def load_checkpoint(
        self, path: StrPath, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load tensors and plain values alone, whatever ``weights_only`` says, to the CPU where nothing else is said.

        Lightning's strategies say nothing, and torch would load a tensor to the GPU that it was saved from: on another
        machine there may be none, and each rank would load its own copy to the first one's.
        """
        return super().load_checkpoint(path, map_location or "cpu", weights_only=True)  # type: ignore[arg-type]


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``, from which a run continues exactly where it was saved, and the one before it.

    Saved between two epochs, after everything of the first is logged and every scheduler stepped (Lightning's
    ModelCheckpoint saves before that, so a resumed plateau schedule would miss a step); after the last epoch; if
    asked, every few optimizer steps; when the trainer is told to stop in the middle of an epoch, as by its
    ``max_time``; and when the process is told to end (SIGTERM, as SLURM sends before it takes a machine away), at the
    next optimizer step.

    Args:
        folder: of the checkpoints.
        every_n_steps: save in the middle of an epoch too, as soon as there were so many optimizer steps since it was
            saved last; 0 for between epochs alone.

    Raises:
        InputError: ``every_n_steps`` is negative; from ``Trainer.fit``, where another process trains in the folder.
        SIGTERMException: from ``Trainer.fit``, after it has saved on SIGTERM.
    """

    def __init__(self, folder: StrPath, every_n_steps: int = 0) -> None:
        if every_n_steps < 0:
            raise InputError(f"checkpoint_every_n_steps: a number of optimizer steps, or 0. Received: {every_n_steps}.")
        self.path = Path(folder) / LAST
        self.every_n_steps = every_n_steps
        self._sigterm = Sigterm()
        self._saved_step = 0
        self._last_is_whole = False
        self._stopped_inside = self._stop_is_held = False
        self._metrics: dict[str, Tensor] = {}
        self._alone = ExitStack()

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """The first rank has chosen the run folder; the others' last words are to name the same file."""
        self.path = Path(trainer.strategy.broadcast(str(self.path)))

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Nobody has been told to end, and there is time."""
        _require_time(trainer)
        self._sigterm = Sigterm()

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen for SIGTERM already."""
        self._sigterm.listen()

    def on_sanity_check_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Give SIGTERM back: a run that is over does not train."""
        self._sigterm.restore()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen for SIGTERM; clean up after a process that was killed while it wrote."""
        self._sigterm.listen()
        trainer.callback_metrics.update(self._metrics)
        self._saved_step, self._stopped_inside, self._stop_is_held = trainer.global_step, False, False
        resumed_from = Path(trainer.ckpt_path or "")
        self._last_is_whole = self.path.is_file() and resumed_from.is_file() and self.path.samefile(resumed_from)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set at run time
            self._keep_others_out()
            for half_written in self.path.parent.glob(".*.ckpt"):
                half_written.unlink()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the state between two epochs; the phase has changed already if it was to."""
        if trainer.global_step > self._saved_step:
            self._save(trainer)
        self._end_if_told(trainer)

    def on_train_batch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Stop after this batch, if that was to be after the last."""
        trainer.should_stop |= self._stop_is_held
        self._stop_is_held = False

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Save every few steps, and if the process is to end.

        A trainer that is to stop while gradients are added up does so after their step, as no checkpoint has them.
        Not before a validation, which Lightning would leave out in the resumed run: after a step later, or after
        the epoch. Where the trainer stops, Lightning validates too, but counts the epoch as whole from then on.
        """
        loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
        assert fetcher is not None
        self._stopped_inside = stops_inside_an_epoch(trainer)
        if self._stopped_inside and loop._should_accumulate():
            trainer.should_stop, self._stopped_inside, self._stop_is_held = False, False, True
        if loop.batch_progress.is_last_batch or loop._should_accumulate():
            return
        if not self._stopped_inside and loop._should_check_val_fx(fetcher):
            return
        due = 0 < self.every_n_steps <= trainer.global_step - self._saved_step
        told = self._sigterm.told(trainer)
        if due or told or self._stopped_inside:
            self._save(trainer)
        if told:
            self._end()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Let plateau schedules step, which Lightning holds still in an epoch that was resumed in its middle."""
        trainer.fit_loop._restarting = False

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the end of training, unless that was in the middle of an epoch, which goes on from where it stopped."""
        if not (self._stopped_inside and self._last_is_whole):
            self._save(trainer)
        self._sigterm.restore()
        self._alone.close()
        self._end_if_told(trainer)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Give SIGTERM back, and the run to others."""
        self._sigterm.restore()
        self._alone.close()

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the start of an epoch as the state between two: Lightning would take it for the middle of the old.

        And the last metrics, which a scheduler may watch in an epoch without validation; and the epoch that the trainer
        is told to stop in, which Lightning validates and logs as if it were over.
        """
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
        for count in (progress["total"], progress["current"]):
            if count["started"] == count["processed"]:
                count["ready"] = count["started"]
        if self._stopped_inside:
            checkpoint[STOPPED] = trainer.current_epoch
        checkpoint["callback_metrics"] = {name: value.cpu() for name, value in trainer.callback_metrics.items()}

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the last metrics until training starts, before which Lightning clears its own."""
        self._metrics = checkpoint.get("callback_metrics", {})

    def _keep_others_out(self) -> None:
        """As a job that was put back into the queue may begin while the old one still saves."""
        lock = self.path.with_name(LOCK)
        taken = f"trainer.default_root_dir: another process is training in {lock.parent}. Wait for it, or end it."
        with writing(lock.parent):
            lock.parent.mkdir(parents=True, exist_ok=True)
            self._alone.enter_context(alone(lock, taken))
        self._alone.callback(lock.unlink, missing_ok=True)

    def _end_if_told(self, trainer: lightning.Trainer) -> None:
        if self._sigterm.told(trainer):
            self._end()

    def _end(self) -> NoReturn:
        after = f"; {self.path} continues the run" if self.path.is_file() else " before the first checkpoint"
        raise SIGTERMException(f"ended by SIGTERM{after}")

    def _save(self, trainer: lightning.Trainer) -> None:
        """Flush the logs, keep the checkpoint before unless it was found damaged, write this one.

        Not of a ``fast_dev_run``, for which Lightning turns off its own callbacks that save, but not this one.
        """
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by Lightning at run time
            return
        for logger in trainer.loggers:
            logger.save()
        if trainer.is_global_zero and self._last_is_whole:
            keep_previous(self.path)
        trainer.save_checkpoint(self.path, weights_only=False)  # all of the state
        self._last_is_whole, self._saved_step = True, trainer.global_step


def _require_time(trainer: lightning.Trainer) -> None:
    """Raise InputError where a run that goes on has had all of its ``max_time``: Lightning would end it at once."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
    for timer in (callback for callback in callbacks if isinstance(callback, Timer)):
        left = timer.time_remaining()
        if left is not None and left <= 0:
            raise InputError(
                f"trainer.max_time: it is that of a whole run, and this one has trained for {timer.time_elapsed():.0f} "
                f"seconds of {timer.time_elapsed() + left:.0f}. Give more, as --trainer.max_time 01:00:00:00 (a day)."
            )


def keep_previous(last: Path) -> None:
    """Give ``last`` a second name beside it, so that the file stays when ``last`` is replaced."""
    previous, spare = last.with_name(PREVIOUS), last.with_name(f".{PREVIOUS}")
    spare.unlink(missing_ok=True)
    try:
        os.link(last, spare)
    except OSError:  # exFAT and many network drives know no second names
        with replacing(previous) as temporary:
            shutil.copyfile(last, temporary)
    else:
        spare.replace(previous)
        spare.unlink(missing_ok=True)  # it stays where both are one file: a process was killed before it wrote ``last``
