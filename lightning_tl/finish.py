"""What a finished fit or predict writes into its run folder."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher

from lightning_tl.best_checkpoint import BestCheckpoint
from lightning_tl.classifier import TransferClassifier
from lightning_tl.collect import every_batch, predict_all
from lightning_tl.data import ImageFolderDataModule, Sample
from lightning_tl.errors import InputError
from lightning_tl.evaluate import (
    confusion_matrix,
    draw_confusion_matrix,
    results,
    write_predictions,
    write_results,
)
from lightning_tl.pictures import remove_pictures, write_pictures
from lightning_tl.runfolder import BEST
from lightning_tl.weights import sha256


def finish_fit(
    trainer: lightning.Trainer,
    model: TransferClassifier,
    data: ImageFolderDataModule,
    run_folder: Path,
    phases: Sequence[Mapping[str, Any]],
    pictures: bool = True,
) -> dict[str, Any]:
    """Evaluate the best checkpoint (else the last weights); write predictions, confusion matrix, results and pictures.

    Best is what a ``BestCheckpoint``, or a ``ModelCheckpoint`` that monitors something, has kept in this fit or in the
    run that it has resumed. A ``best.ckpt`` that another fit has left in the folder is not evaluated, with a warning.

    Args:
        trainer: the one that has fitted ``model`` on ``data``.
        model: the fitted model.
        data: its data.
        run_folder: where to write.
        phases: ``PhasedFinetuning.results()``.
        pictures: see ``lightning_tl.pictures``; if they cannot be made there is a warning.

    Returns:
        The contents of results.json.

    Raises:
        OSError: a file cannot be written.
        SIGTERMException: the process was told to end while it predicted.
    """
    loaders = [data.val_dataloader()]
    if data.test_split == "test":
        loaders.append(data.test_dataloader())
    # Rank 0 decides: a rank that does not see the file on a shared disk yet would predict with its last weights.
    weights = trainer.strategy.broadcast(_best_of_fit(trainer, model, run_folder) if trainer.is_global_zero else None)
    with every_batch(trainer):
        predictions = predict_all(trainer, model, run_folder, dataloaders=loaders, ckpt_path=weights, weights_only=True)
    splits = [data.samples[index].split for index in predictions.index]
    tested = predictions.where([split == data.test_split for split in splits])  # type: ignore[arg-type]
    checkpoint = None if weights is None else sha256(weights)
    values = results(tested, data.test_split, phases, model.class_names, model.weights_record, model.seed, checkpoint)
    if trainer.is_global_zero:
        remove_pictures(run_folder)  # of an earlier end of this run: other weights had predicted
        write_predictions(run_folder / "predictions.csv", predictions, data.samples, model.class_names)
        title = f"{data.test_split} split: accuracy {tested.accuracy():.4f}"
        counts = confusion_matrix(tested, model.num_classes)
        draw_confusion_matrix(run_folder / "confusion_matrix.png", counts, model.class_names, title)
        write_results(run_folder / "results.json", values)
    if trainer.is_global_zero and pictures:
        try:
            epochs = sum(phase["epochs"] for phase in phases)
            write_pictures(run_folder, model, data, predictions, epochs, trainer.strategy.root_device)
        except Exception as error:  # networks, decoders and disks raise anything, and the run is whole without
            warnings.warn(f"pictures: none are left, all else is ({type(error).__name__}: {error}).", stacklevel=2)
    return values


def finish_predict(
    trainer: lightning.Trainer, model: TransferClassifier, data: ImageFolderDataModule, run_folder: Path
) -> Path:
    """Predict the images under the data's root; returns the path of predictions.csv in ``run_folder``.

    All of them, unless the trainer has a ``limit_predict_batches``.

    Raises:
        InputError: no batch is to be predicted.
        OSError: the file cannot be written.
    """
    if trainer.limit_predict_batches == 0:
        raise InputError("trainer.limit_predict_batches: nothing would be predicted. Received: 0; leave it out.")
    predictions = predict_all(trainer, model, run_folder, datamodule=data)
    samples = [Sample("predict", str(path), "") for path in data.predict_paths]
    output = run_folder / "predictions.csv"
    if trainer.is_global_zero:
        write_predictions(output, predictions, samples, model.class_names)
    return output


def _best_of_fit(trainer: lightning.Trainer, model: TransferClassifier, run_folder: Path) -> str | None:
    """The best checkpoint by the trainer's own word; that of the run folder, where there are several.

    A callback that was in another fit before may still hold that one's.
    """
    usual = (run_folder / "checkpoints" / BEST).resolve()
    callbacks = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint) and each.monitor]
    kept = [path for path in (_kept_by(callback, trainer) for callback in callbacks) if path and path.is_file()]
    earlier = [path for path in kept if model.best_before.get(str(path)) == path.stat().st_mtime_ns]
    if earlier:
        warnings.warn(
            f"{earlier[0]} is the best of an earlier fit, to which its callback has kept, and may have seen other "
            "images: it is not evaluated. Give each fit a ModelCheckpoint of its own.",
            stacklevel=3,
        )
        kept = [path for path in kept if path not in earlier]
    best = usual if usual in kept else next(iter(kept), None)
    if usual.is_file() and best != usual:
        warnings.warn(
            f"{usual} is of another fit; {best or 'the last weights of this one'} will be evaluated. Give each fit a "
            "run folder of its own, and its trainer BestCheckpoint(run_folder / 'checkpoints') to keep its best.",
            stacklevel=3,
        )
    return None if best is None else str(best)


def _kept_by(callback: ModelCheckpoint, trainer: lightning.Trainer) -> Path | None:
    """The file that a callback keeps as the best."""
    if callback.best_model_path:
        return Path(callback.best_model_path).resolve()
    if isinstance(callback, BestCheckpoint) and isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        # It has lived in other processes, from which Lightning brings home the word of the first such callback alone.
        return Path(str(callback.dirpath)).resolve() / BEST
    return None
