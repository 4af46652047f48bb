"""One run from config to run folder.

differs: in lightning_tl, LightningCLI puts the parts together.
"""

from pathlib import Path

import keras

from keras_ref.classifier import build_classifier
from keras_ref.config import Config
from keras_ref.data import open_source
from keras_ref.data.split_file import write_split
from keras_ref.data.summary import data_line
from keras_ref.files import write_text
from keras_ref.finish import finish_fit
from keras_ref.phases import fit_phases
from keras_ref.recorder import Recorder
from keras_ref.runfolder import choose_run_folder, release_claims


def fit(config: Config) -> Path:
    """Train and evaluate as ``config`` says; prints the images first.

    Returns:
        The run folder.

    Raises:
        InputError: whatever is wrong with the config, the data, the weights or the run folder.
        RuntimeError: BatchNorm has not stayed in inference mode.
    """
    run_folder = choose_run_folder(config.root)
    try:
        source = open_source(config.data, config.seed)
        print(data_line(source), flush=True)
        keras.utils.set_random_seed(config.seed)
        shared = config.draws == "shared"
        classifier = build_classifier(config.model, config.data.size, len(source.class_names), config.seed, shared)
        write_text(run_folder / "config.yaml", config.to_yaml())
        write_split(run_folder / "split.csv", source.samples)
    finally:
        release_claims()
    recorder = Recorder(run_folder, classifier.saver)
    fit_phases(classifier, source, config, recorder)
    finish_fit(classifier, source, config, recorder, run_folder)
    return run_folder
