"""What Keras makes of folders of images: which files in which order, and their pixels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ref.data import decode, split

Arrays = dict[str, np.ndarray]

SUBSETS = {"train": "training", "val": "validation"}


def split_of_keras(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """Files of both subsets by ``image_dataset_from_directory``: ``fraction/seed/split`` to relative paths."""
    root = Path(options["root"])
    found: Arrays = {}
    for fraction, seed in options["splits"]:
        for name, subset in SUBSETS.items():
            dataset = keras.utils.image_dataset_from_directory(
                root, validation_split=fraction, seed=seed, subset=subset, verbose=False
            )
            paths = [Path(path).relative_to(root).as_posix() for path in dataset.file_paths]
            found[f"{fraction}/{seed}/{name}"] = np.array(paths)
    return found


def split_of_reference(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """The same by keras_ref, and its stratified split with a test set: ``kind/fraction/seed/split``."""
    found: Arrays = {}
    for fraction, seed in options["splits"]:
        by_keras = split.keras_split(options["root"], fraction, seed)
        divided = {"keras": by_keras, "stratified": split.stratified_split(by_keras, fraction, 0.1, seed)}
        for kind, samples in divided.items():
            for name in ("train", "val", "test"):
                paths = [sample.path for sample in samples if sample.split == name]
                found[f"{kind}/{fraction}/{seed}/{name}"] = np.array(paths, dtype=str)
    return found


def loaded(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """Pixels by ``image_dataset_from_directory``: ``name/number`` to float32 (height, width, 3) in [0, 255].

    ``options["loads"]`` holds ``[name, arguments]``; images are numbered in the order of their paths.
    """
    found: Arrays = {}
    for name, arguments in options["loads"]:
        dataset = keras.utils.image_dataset_from_directory(
            options["root"], labels=None, shuffle=False, batch_size=None, verbose=False, **arguments
        )
        order = np.argsort(dataset.file_paths)
        images = [image.numpy() for image in dataset]
        found |= {f"{name}/{number}": images[position] for number, position in enumerate(order)}
    return found


def decoded_by_tensorflow(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """JPEGs by ``tf.io.decode_jpeg`` with ``options["dct_method"]`` ("" is what tf.image, and so Keras, uses).

    Returns:
        ``image/number`` to uint8 (height, width, 3), numbered in the order of their paths.
    """
    import tensorflow as tf

    paths = sorted(str(path) for path in Path(options["root"]).rglob("*") if path.is_file())
    images = [tf.io.decode_jpeg(tf.io.read_file(path), 3, dct_method=options["dct_method"]) for path in paths]
    return {f"image/{number}": image.numpy() for number, image in enumerate(images)}


def resized_by_ops(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """``keras.ops.image.resize`` of the backend on each array (height, width, 3), to every size of options."""
    found: Arrays = {}
    for name, image in arrays.items():
        for size in options["sizes"]:
            resized = ops.image.resize(
                ops.convert_to_tensor(image.astype("float32")), tuple(size), interpolation="bilinear", antialias=False
            )
            found[f"{name}/{size[0]}x{size[1]}"] = np.asarray(ops.convert_to_numpy(resized))
    return found


def decoded_by_reference(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """keras_ref's decoder, and its resizing where a load has a size, as ``loaded`` numbers them."""
    paths = sorted(str(path) for path in Path(options["root"]).rglob("*") if path.is_file())
    found: Arrays = {}
    for name, size, mode, antialias in options["loads"]:
        for number, path in enumerate(paths):
            image = decode.decode_image(path)
            if size is not None:
                image = decode.resize_image(image, tuple(size), mode, antialias)
            found[f"{name}/{number}"] = image
    return found
