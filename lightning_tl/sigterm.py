"""SIGTERM, by which a process is told to end, heard of at a moment that all ranks share."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException


class Sigterm:
    """Notes the signal, in place of Lightning's handler, which talks to other ranks in the middle of a step."""

    def __init__(self) -> None:
        self._noted = self._waiting = False
        self._handler: Any = None
        self._trainer: lightning.Trainer | None = None

    def follow(self, trainer: lightning.Trainer) -> None:
        """Know what Lightning's handler notes, which is there before anybody can ``listen``, until ``restore``."""
        self._trainer = trainer

    def listen(self) -> None:
        """Note it from now on; a thread that is not the main one may set no handler, and notes nothing."""
        if self._handler is None and threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, self._note)

    def restore(self) -> None:
        """Give the signal back to whoever had it."""
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
            self._handler = None
        self._trainer = None

    def told(self, trainer: lightning.Trainer) -> bool:
        """Whether any rank was told to end, the same on all; every rank has to ask.

        What Lightning's handler has noted counts too: it is there before anybody can ``listen``.
        """
        return trainer.strategy.reduce_boolean_decision(self._noted or trainer.received_sigterm, all=False)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Have the signal end a block that may wait for ever, as a read of standard input does.

        Raises:
            SIGTERMException: on this rank alone, as soon as the signal comes, or at once if it was noted before.
        """
        self._waiting = True
        try:
            if self._noted or (self._trainer is not None and self._trainer.received_sigterm):
                raise SIGTERMException
            yield
        finally:
            self._waiting = False

    def _note(self, *_: Any) -> None:
        self._noted = True
        if self._waiting:
            raise SIGTERMException


class EndPrediction(Callback):
    """Ends a prediction by SIGTERM after a batch, on all ranks after the same; Lightning's own loop would run on.

    Args:
        message: of the error.
        sigterm: that is asked; whoever waits for images may have begun to listen with it. None for a new one.

    Raises:
        SIGTERMException: from ``Trainer.predict``.
    """

    def __init__(self, message: str, sigterm: Sigterm | None = None) -> None:
        self.message = message
        self._sigterm = sigterm or Sigterm()

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Before Lightning's own handler is there."""
        self._sigterm.follow(trainer)

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen."""
        self._sigterm.listen()

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End here if any rank was told to."""
        if self._sigterm.told(trainer):
            raise SIGTERMException(self.message)

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Give SIGTERM back."""
        self._sigterm.restore()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Give SIGTERM back."""
        self._sigterm.restore()
