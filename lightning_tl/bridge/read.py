"""Keras files to torch state dicts, without importing Keras."""

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import h5py
import numpy as np
import torch
from torch import Tensor

from lightning_tl.bridge.archive import convention_of, open_archive
from lightning_tl.bridge.h5 import Variables, array, paddings, variables
from lightning_tl.bridge.shapes import COUNTERS, check_state
from lightning_tl.bridge.width import find_alpha, shapes_at
from lightning_tl.errors import InputError
from lightning_tl.keras_layers import Library, name_table

Convention = Literal["keras", "torch"]

_KERAS_PADDINGS = 4
"""ZeroPadding2D layers of Keras' MobileNetV2; the torch convention pads before ``Conv1`` too."""

UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)
"""What damaged or hostile files raise in h5py, zipfile and json, or where they hold what Keras never writes."""
MAX_CLASSES = 100_000
"""A file of a few bytes can declare more, which would take gigabytes to read; ImageNet-21k has 21,841."""


@dataclass(frozen=True)
class KerasWeights:
    """A MobileNetV2 out of a Keras file.

    Attributes:
        state: the backbone's tensors by torch name, float32, with ``num_batches_tracked`` zero.
        head_weight: (classes, features), and head_bias: (classes,), of the one Dense layer; None without one.
        convention: ``keras`` or ``torch``: padding, BatchNorm epsilon, pixel scaling.
        alpha: width multiplier.
        class_names: in label order, where the file was written by ``write_keras``; else None.
    """

    state: dict[str, Tensor]
    head_weight: Tensor | None
    head_bias: Tensor | None
    convention: Convention
    alpha: float
    class_names: tuple[str, ...] | None = None


def read_keras(path: str | Path, library: Library) -> KerasWeights:
    """Read MobileNetV2 from ``.h5`` (legacy), ``.weights.h5`` or ``.keras``, alone or within a whole model.

    Args:
        path: the file. Only numbers and names are read from it; no code in it can run.
        library: whose names the state dict gets.

    Raises:
        InputError: not such a file, or a missing, extra or misshapen tensor, which is named.
    """
    with _opened(Path(path)) as (file, config, metadata):
        found = variables(file)
        alpha = _fitting_alpha(Path(path), found)
        classes = metadata.get("class_names")
        return KerasWeights(
            _state(found, library, alpha),
            *_head(found, shapes_at(alpha, "keras")["Conv_1_bn/gamma"][0]),
            _convention(file, config),
            alpha,
            tuple(classes) if classes else None,
        )


def keras_convention(path: str | Path) -> Convention:
    """``keras`` or ``torch``, without reading the weights. Raises InputError as ``read_keras`` does."""
    with _opened(Path(path)) as (file, config, _):
        return _convention(file, config)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, Any, dict[str, Any]]]:
    """The HDF5 file, the configuration (None where the file holds weights alone) and metadata."""
    try:
        if path.suffix == ".keras":
            archive = open_archive(path)
            with h5py.File(archive.weights, "r") as file:
                yield file, archive.config, archive.metadata
        else:
            with h5py.File(path, "r") as file:
                config = file.attrs.get("model_config")
                yield file, None if config is None else json.loads(config), {}
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as a Keras file ({error}). Save it again with Keras.") from error


def _convention(file: h5py.File, config: Any) -> Convention:
    if config is None:
        return "torch" if paddings(file) > _KERAS_PADDINGS else "keras"
    return cast(Convention, convention_of(config))


def _fitting_alpha(path: Path, found: Variables) -> float:
    """The width whose tensors these are; variables of layers around the backbone are left aside."""
    alpha = find_alpha(found, "keras")
    expected = shapes_at(alpha, "keras")
    layers = {name.split("/")[0] for name in expected}
    ours = {n: d for n, d in found.items() if n.split("/")[0] in layers or len(d.shape) == 4}
    check_state(expected, ours, f"{path} as Keras MobileNetV2 (alpha {alpha:g})")
    return alpha


def _state(found: Variables, library: Library, alpha: float) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for row in name_table(library, alpha):
        state[row.torch] = torch.from_numpy(np.ascontiguousarray(array(found[row.keras]).transpose(row.axes)))
        if row.torch.endswith("running_var"):
            state[row.torch.replace("running_var", COUNTERS)] = torch.tensor(0)
    return state


def _head(found: Variables, features: int) -> tuple[Tensor | None, Tensor | None]:
    """The one Dense layer on the backbone's features, as torch's Linear holds it; two are none.

    Raises:
        ValueError: its shapes are those of no such layer.
    """
    kernels = [n for n, d in found.items() if n.endswith("/kernel") and len(d.shape) == 2 and d.shape[0] == features]
    if len(kernels) != 1:
        return None, None
    kernel, bias = found[kernels[0]], found.get(kernels[0].replace("/kernel", "/bias"))
    classes = kernel.shape[1]
    if classes > MAX_CLASSES or (bias is not None and bias.shape != (classes,)):
        raise ValueError(f"{kernels[0]} and its bias are no classifier of at most {MAX_CLASSES} classes")
    weight = torch.from_numpy(np.ascontiguousarray(array(kernel).T))
    return weight, torch.zeros(len(weight)) if bias is None else torch.from_numpy(array(bias))
