"""What a finished fit or predict writes into its run folder."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning

from lightning_tl import runfolder
from lightning_tl.classifier import TransferClassifier
from lightning_tl.collect import predict_all
from lightning_tl.data import ImageFolderDataModule, Sample
from lightning_tl.evaluate import (
    confusion_matrix,
    draw_confusion_matrix,
    results,
    write_predictions,
    write_results,
)
from lightning_tl.pictures import remove_pictures, write_pictures


def finish_fit(
    trainer: lightning.Trainer,
    model: TransferClassifier,
    data: ImageFolderDataModule,
    run_folder: Path,
    phases: Sequence[Mapping[str, Any]],
    pictures: bool = True,
) -> dict[str, Any]:
    """Evaluate the best checkpoint (else the last weights); write predictions, confusion matrix, results and pictures.

    Args:
        trainer: the one that has fitted ``model`` on ``data``.
        model: the fitted model.
        data: its data.
        run_folder: where to write.
        phases: ``PhasedFinetuning.results()``.
        pictures: see ``lightning_tl.pictures``; if they cannot be made there is a warning.

    Returns:
        The contents of results.json.
    """
    best = run_folder / "checkpoints" / runfolder.BEST
    loaders = [data.val_dataloader()]
    if data.test_split == "test":
        loaders.append(data.test_dataloader())
    # Rank 0 decides: a rank that does not see the file on a shared disk yet would predict with its last weights.
    weights = str(best) if trainer.strategy.broadcast(best.is_file()) else None
    predictions = predict_all(trainer, model, run_folder, dataloaders=loaders, ckpt_path=weights, weights_only=True)
    splits = [data.samples[index].split for index in predictions.index]
    tested = predictions.where([split == data.test_split for split in splits])  # type: ignore[arg-type]
    values = results(tested, data.test_split, phases, model.class_names, model.weights_record, model.seed)
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
    """Predict every image under the data's root; returns the path of predictions.csv in ``run_folder``."""
    predictions = predict_all(trainer, model, run_folder, datamodule=data)
    samples = [Sample("predict", str(path), "") for path in data.predict_paths]
    output = run_folder / "predictions.csv"
    if trainer.is_global_zero:
        write_predictions(output, predictions, samples, model.class_names)
    return output
