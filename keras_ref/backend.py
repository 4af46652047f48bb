"""The Keras backend: chosen before Keras is imported, because Keras reads it once, at import.

differs: lightning_tl has no counterpart, torch being its only framework.
"""

import os
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from keras_ref.errors import InputError

BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
"""Keras' name of a backend and the module it needs, in order of preference; the first is Keras' default."""

CACHE = Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras")))  # noqa: PTH111  # as Keras does it
"""Keras' folder as the user has it, where downloaded weights belong."""


def select_backend() -> str:
    """Choose a backend and import Keras with it, without leaving a keras.json behind.

    ``KERAS_BACKEND`` decides. Without it the first installed one of ``BACKENDS`` is taken, whatever an
    existing keras.json says; Keras alone would fail inside ``import keras`` where TensorFlow is missing.
    Number format and image layout are Keras' own defaults too, so that no run depends on that file.

    Returns:
        The backend's name: tensorflow, jax or torch.

    Raises:
        InputError: ``KERAS_BACKEND`` names a backend that is unknown or not installed, or none is installed.
    """
    name = os.environ.get("KERAS_BACKEND") or _preferred()
    if name not in BACKENDS or not _installed(name):
        raise InputError(
            f"KERAS_BACKEND={name} cannot be used: it is not installed or not one of {', '.join(BACKENDS)}. "
            f"Installed here: {', '.join(filter(_installed, BACKENDS)) or 'none'}."
        )
    os.environ["KERAS_BACKEND"] = name
    _import_keras()
    return name


def _preferred() -> str:
    """The first installed backend."""
    for name in BACKENDS:
        if _installed(name):
            return name
    raise InputError("no Keras backend is installed; install one of tensorflow-cpu, jax or torch")


def _installed(name: str) -> bool:
    return find_spec(BACKENDS[name]) is not None


def _import_keras() -> None:
    """Import Keras with its folder moved elsewhere, for it writes a keras.json wherever there is none.

    So does TensorFlow's own old copy of Keras, which the torch and jax backends import later: the folder
    stays moved as long as the process runs, and goes with it.
    """
    os.environ["KERAS_HOME"] = _private_home().name
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


@cache
def _private_home() -> tempfile.TemporaryDirectory[str]:
    """A folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="keras_ref_")
