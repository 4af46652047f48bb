"""Pretrained weights: from Keras' own download, or from a file of Keras."""

import hashlib
import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_ref.backend import CACHE
from keras_ref.errors import InputError
from keras_ref.options import at_home

URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
"""Where keras.applications.mobilenet_v2 has its weights (BASE_WEIGHT_PATH)."""


def load_weights(base: Any, weights: str, alpha: float = 1.0) -> dict[str, str]:
    """Load weights into Keras' MobileNetV2 without top.

    Args:
        base: the network.
        weights: ``imagenet``, ``none`` (leave the random ones), or a .h5, .weights.h5 or .keras file of the
            same network, alone or within a whole model, such as a run leaves.
            differs: lightning_tl also reads torch's files, in torch's convention.
        alpha: width multiplier, which names the file of ``imagenet``.

    Returns:
        ``source`` and ``sha256`` for results.json.

    Raises:
        InputError: the file is missing, of another kind, or of another network; or the download fails.
    """
    if weights == "none":
        return {"source": "none: random initial weights", "sha256": ""}
    path = _download(alpha) if weights == "imagenet" else _file(weights)
    try:
        _read(base, path)
    except Exception as error:  # h5py and Keras raise anything from OSError to KeyError
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if weights == "imagenet":
            raise InputError(
                f"weights: {path}, as Keras has downloaded it, is damaged ({said}). Delete it, to have it fetched anew."
            ) from error
        raise InputError(f"weights: {path} does not hold MobileNetV2 without top at width {alpha}: {said}") from error
    return {"source": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _read(base: Any, path: Path) -> None:
    """Of a .keras file too the numbers alone: its description of layers may name code."""
    with tempfile.TemporaryDirectory() as folder:
        base.load_weights(_inside(path, Path(folder) / "network.weights.h5") or path)


def _inside(path: Path, alone: Path) -> Path | None:
    """``alone``, to which the weights of the one network within a model have been copied; None where none is within."""
    with h5py.File(path if path.suffix == ".h5" else _weights_in(path)) as model:
        layers = [layer for layer in model.get("layers", {}).values() if isinstance(layer, h5py.Group)]
        parts = [part for layer in layers for part in (layer, *layer.values()) if isinstance(part, h5py.Group)]
        networks = [part for part in parts if "layers" in part]
        if len(networks) != 1:
            return None
        with h5py.File(alone, "w") as file:
            for name in networks[0]:
                networks[0].copy(name, file)
    return alone


def _weights_in(path: Path) -> io.BytesIO:
    """The weights that a .keras file holds."""
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read("model.weights.h5"))


def _file(name: str) -> Path:
    path = Path(at_home(name))
    if path.suffix not in (".h5", ".keras"):
        raise InputError(
            f"weights: imagenet, none, or a .h5, .weights.h5 or .keras file. Received: {name}; "
            "torch's files have another convention than Keras' network."
        )
    if not path.is_file():
        raise InputError(f"weights: no such file. Received: {name}.")
    return path


def _download(alpha: float) -> Path:
    """Keras' ImageNet weights, from its cache or its server."""
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5"
    if (there := CACHE / "models" / name).is_file():
        return there
    _check_cache()
    try:
        return Path(keras.utils.get_file(name, URL + name, cache_subdir="models", cache_dir=CACHE))
    except Exception as error:  # urllib raises many kinds
        raise InputError(
            f"weights: imagenet could not be had from {URL + name}: {error}. Give a .h5 file, or none for random ones."
        ) from error


def _check_cache() -> None:
    """That Keras' folder can be written; else Keras takes one for temporary files, and what anyone has put there."""
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(CACHE, os.W_OK) else "permission denied"
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        raise InputError(
            f"weights: imagenet: Keras keeps what it downloads in {CACHE}, which cannot be written: {reason}. "
            "Set KERAS_HOME to a folder that can."
        )
