"""Run as a script in a process of its own: what Keras makes of folders, as file lists and arrays.

Usage: python keras_images.py TASKS.json OUT.npz, with KERAS_BACKEND set. A task is the arguments of
``keras.utils.image_dataset_from_directory`` and a name; the arrays in OUT are NAME/paths and NAME/images.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np


def run(task: dict[str, Any]) -> dict[str, np.ndarray]:
    name, wants_images = task.pop("name"), task.pop("images")
    dataset = keras.utils.image_dataset_from_directory(**task, batch_size=None, verbose=False)
    found = {f"{name}/paths": np.array([str(path) for path in dataset.file_paths])}
    if wants_images:
        found[f"{name}/images"] = np.stack([image.numpy() for image in dataset])
    return found


if __name__ == "__main__":
    arrays: dict[str, np.ndarray] = {}
    for task in json.loads(Path(sys.argv[1]).read_text()):
        arrays |= run(task)
    np.savez(sys.argv[2], **arrays)
