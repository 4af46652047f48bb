"""Pictures that a run leaves behind, so that a report of it needs neither the model nor the data.

``pictures/pictures.json`` in the run folder says what there is; paths are relative to it, and an index is the position
in split.csv:

- ``image_size``: [height, width] in pixels, as the model takes images;
- ``images``: from index to the thumbnail of a held-out image, as it goes into the model.

differs: lightning_tl also shows Grad-CAM maps and augmented training samples.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from keras_ref.choice import worth_a_look
from keras_ref.data import Source
from keras_ref.data.decode import resize_image
from keras_ref.evaluate import Predictions
from keras_ref.files import new_folder
from keras_ref.options import DataConfig
from keras_ref.thumbnail import save_jpeg, thumbnail

FOLDER, CONTENTS = "pictures", "pictures.json"


def write_pictures(run_folder: Path, source: Source, options: DataConfig, predictions: Predictions) -> None:
    """Write ``run_folder/pictures``, whole or not at all, in place of an earlier one.

    Args:
        run_folder: of the run.
        source: its data.
        options: how images are resized.
        predictions: of held-out images.

    Raises:
        InputError: an image can no longer be read.
        OSError: the folder cannot be written, or another one that is no run's is in its place.
    """
    remove_pictures(run_folder)
    with new_folder(run_folder / FOLDER) as folder:
        contents: dict[str, Any] = {"image_size": list(options.size), "images": {}}
        (folder / "images").mkdir()
        for index in predictions.index[worth_a_look(predictions)].tolist():
            image = source.read(source.samples[index].path)
            name = f"images/{index:06}.jpg"
            save_jpeg(folder / name, thumbnail(resize_image(image, options.size, options.resize, options.antialias)))
            contents["images"][str(index)] = name
        (folder / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


def remove_pictures(run_folder: Path) -> None:
    """Remove what ``write_pictures`` has left there, if possible; another folder of that name stays."""
    if (run_folder / FOLDER / CONTENTS).is_file():
        shutil.rmtree(run_folder / FOLDER, ignore_errors=True)
