"""Predictions of every image, brought from the processes that make them to the one that writes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from torch import Tensor

from lightning_tl.classifier import TransferClassifier
from lightning_tl.evaluate import Predictions, collect
from lightning_tl.sigterm import EndPrediction

ENDED = "ended by SIGTERM before its predictions were written"


class PredictionFile(Callback):
    """Leaves what rank 0 has predicted, the rows of all ranks, in a file.

    Args:
        path: of tensors alone, by ``torch.save``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._batches: list[dict[str, Tensor]] = []

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the rows, off the device."""
        if trainer.is_global_zero:
            self._batches.append({name: value.cpu() for name, value in outputs.items()})

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write them."""
        if trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)  # of a fit that has left nothing in its run folder
            torch.save(self._batches, self.path)
            self._batches = []


@contextmanager
def with_callbacks(trainer: lightning.Trainer, *callbacks: Callback) -> Iterator[None]:
    """Have a trainer call these too, after its own."""
    known: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning at run time
    known.extend(callbacks)
    try:
        yield
    finally:
        for callback in callbacks:
            known.remove(callback)


@contextmanager
def every_batch(trainer: lightning.Trainer) -> Iterator[None]:
    """Have a trainer predict all batches, whatever its ``limit_predict_batches``."""
    limit, trainer.limit_predict_batches = trainer.limit_predict_batches, 1.0
    try:
        yield
    finally:
        trainer.limit_predict_batches = limit


@contextmanager
def _without_data_module(trainer: lightning.Trainer) -> Iterator[None]:
    """Take from a trainer the data module of its last fit, which it would set up to predict all files of its root."""
    data, trainer.datamodule = trainer.datamodule, None  # type: ignore[attr-defined]  # set by Lightning at run time
    try:
        yield
    finally:
        trainer.datamodule = data  # type: ignore[attr-defined]


def predict_all(trainer: lightning.Trainer, model: TransferClassifier, folder: Path, **options: Any) -> Predictions:
    """``trainer.predict(model, **options)`` over one loader or several, each image once.

    Lightning returns no predictions where it has started the processes by ``ddp_spawn``: they go through a file.

    Args:
        trainer: of any number of ranks.
        model: whose ``predict_step`` is run.
        folder: for that file, which is removed.
        **options: of ``Trainer.predict``.

    Raises:
        SIGTERMException: a rank was told to end.
    """
    with _without_data_module(trainer):  # of ``options`` comes another, if it is wanted
        if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
            return _by_way_of_a_file(trainer, model, folder / ".predictions.pt", **options)
        with with_callbacks(trainer, EndPrediction(ENDED)):
            batches = trainer.predict(model, **options)
    assert batches is not None
    flat = [batch for loader in batches for batch in loader] if isinstance(batches[0], list) else batches
    return collect(flat)  # type: ignore[arg-type]


def _by_way_of_a_file(trainer: lightning.Trainer, model: TransferClassifier, path: Path, **options: Any) -> Predictions:
    loggers, trainer.loggers = trainer.loggers, []  # in new processes they would begin the run's logs anew
    try:
        with with_callbacks(trainer, PredictionFile(path), EndPrediction(ENDED)):
            trainer.predict(model, return_predictions=False, **options)
        if options.get("ckpt_path"):  # which those processes have loaded, as trainer.predict in this one would have
            content = torch.load(options["ckpt_path"], map_location="cpu", weights_only=True)
            model.load_state_dict(content["state_dict"])
        return collect(torch.load(path, weights_only=True))
    finally:
        trainer.loggers = loggers
        path.unlink(missing_ok=True)
