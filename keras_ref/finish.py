"""What a finished fit writes into its run folder."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_ref.classifier import TransferClassifier
from keras_ref.config import Config
from keras_ref.data import Source
from keras_ref.data.dataset import Batches
from keras_ref.evaluate import (
    collect,
    confusion_matrix,
    draw_confusion_matrix,
    results,
    write_predictions,
    write_results,
)
from keras_ref.pictures import remove_pictures, write_pictures
from keras_ref.recorder import Recorder
from keras_ref.runfolder import BEST


def finish_fit(
    classifier: TransferClassifier, source: Source, config: Config, recorder: Recorder, run_folder: Path
) -> dict[str, Any]:
    """Evaluate the best weights; write predictions, confusion matrix, results and pictures.

    Args:
        classifier: the fitted model, which gets the best weights.
        source: its data.
        config: of the run.
        recorder: of the fit.
        run_folder: where to write.

    Returns:
        The contents of results.json.

    Raises:
        OSError: a file cannot be written.
    """
    best = run_folder / "checkpoints" / BEST
    classifier.saver.load_weights(best)
    splits = dict.fromkeys(("val", source.test_split))
    batches = [Batches(source, split, config.data, classifier.drawn, config.seed) for split in splits]
    predictions = collect(classifier.model, batches, config.model.label_smoothing)
    tested = predictions.where(np.isin(predictions.index, source.indices(source.test_split)))
    values = results(
        tested,
        source.test_split,
        recorder.results(),
        source.class_names,
        classifier.weights_record,
        config.seed,
        hashlib.sha256(best.read_bytes()).hexdigest(),
    )
    remove_pictures(run_folder)
    write_predictions(run_folder / "predictions.csv", predictions, source.samples, source.class_names)
    title = f"{source.test_split} split: accuracy {tested.accuracy():.4f}"
    counts = confusion_matrix(tested, len(source.class_names))
    draw_confusion_matrix(run_folder / "confusion_matrix.png", counts, source.class_names, title)
    write_results(run_folder / "results.json", values)
    if config.pictures:
        try:
            write_pictures(run_folder, classifier, source, config, predictions, recorder.epochs)
        except Exception as error:  # backends, decoders and disks raise anything, and the run is whole without
            warnings.warn(f"pictures: none are left, all else is ({type(error).__name__}: {error}).", stacklevel=2)
    return values
