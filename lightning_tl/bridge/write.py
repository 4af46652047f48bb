"""Torch state dicts to a ``.keras`` file that plain Keras opens, with nothing of this package in it.

Keras runs in a process of its own (``keras_process.py``): beside torch in one process its TensorFlow backend
has been seen to abort, and there its settings file and global state can be kept from the user's.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_tl.bridge.archive import METADATA
from lightning_tl.bridge.read import Convention
from lightning_tl.bridge.shapes import check_state
from lightning_tl.bridge.width import find_alpha, shapes_at
from lightning_tl.errors import InputError
from lightning_tl.files import replacing
from lightning_tl.keras_layers import Library, mobilenetv2_layers, name_table
from lightning_tl.network import IMAGENET_MEAN, IMAGENET_STD

_SMALLEST = 32
"""Pixels; keras.applications.MobileNetV2 accepts no smaller image."""


@dataclass(frozen=True)
class Head:
    """The linear classifier.

    Attributes:
        weight: (classes, features). bias: (classes,).
        class_names: in label order.
        dropout: rate before it, in [0, 1).
    """

    weight: Tensor
    bias: Tensor
    class_names: Sequence[str]
    dropout: float = 0.2


def write_keras(
    path: str | Path,
    state: Mapping[str, Tensor],
    head: Head,
    *,
    convention: Convention,
    library: Library,
    image_size: int | tuple[int, int],
    alpha: float | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> None:
    """Write the whole model: pixels in [0, 255], shape (batch, height, width, 3), to class probabilities.

    In the keras convention the backbone is ``keras.applications.MobileNetV2`` itself; in torch's it has the
    same layer names with symmetric padding (and a ``Conv1_pad`` before ``Conv1``) and BatchNorm epsilon 1e-5.
    Tensors are stored in float32. The class names are in the archive's ``metadata.json``.

    Args:
        path: to write, ending in ``.keras``; whole or not at all.
        state: the backbone's tensors, named as in the full torchvision or timm model, without classifier.
        head: the classifier on top.
        convention: which the backbone was trained in.
        library: whose names ``state`` uses.
        image_size: pixels, one number or (height, width).
        alpha: width multiplier; None tells it from the shapes.
        mean: of pixels in [0, 1], three; used in the torch convention alone.
        std: likewise.

    Raises:
        InputError: a missing, extra or misshapen tensor, which is named, or an argument out of range.
        RuntimeError: Keras failed; its own message is included.
    """
    path = Path(path)
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    _check_arguments(path, size, head, convention)
    alpha = find_alpha(state, library) if alpha is None else alpha
    check_state(shapes_at(alpha, library), state, f"{path.name}: {library} MobileNetV2 (alpha {alpha:g})")
    arrays = _arrays(state, library, alpha)
    _add_head(arrays, head, shapes_at(alpha, "keras")["Conv_1_bn/gamma"][0])
    spec: dict[str, Any] = {
        "alpha": alpha,
        "convention": convention,
        "image_size": size,
        "dropout": head.dropout,
    }
    spec |= {
        "layers": [asdict(layer) for layer in mobilenetv2_layers(alpha)],
        "classes": len(head.class_names),
    }
    spec |= {"mean": list(mean), "variance": [value**2 for value in std]}
    with tempfile.TemporaryDirectory() as folder, replacing(path) as temporary:
        _annotate(_run_keras(Path(folder), spec, arrays), temporary, {"class_names": list(head.class_names)})


def _check_arguments(path: Path, size: tuple[int, ...], head: Head, convention: str) -> None:
    if path.suffix != ".keras":
        raise InputError(f"output: Keras opens files ending in .keras only. Received: {path}.")
    if len(size) != 2 or min(size) < _SMALLEST:
        raise InputError(f"image_size: Keras' MobileNetV2 needs at least 32 x 32 pixels. Received: {size}.")
    if convention not in ("keras", "torch"):
        raise InputError(f"convention: keras or torch. Received: {convention!r}.")
    if not 0 <= head.dropout < 1:
        raise InputError(f"dropout: a rate in [0, 1). Received: {head.dropout}.")


def _arrays(state: Mapping[str, Tensor], library: Library, alpha: float) -> dict[str, np.ndarray]:
    """Keras variable to float32 array in Keras' axis order."""
    table = name_table(library, alpha)
    return {row.keras: _numpy(state[row.torch]).transpose(np.argsort(row.axes)) for row in table}


def _add_head(arrays: dict[str, np.ndarray], head: Head, features: int) -> None:
    classes = len(head.class_names)
    expected = {"head.weight": (classes, features), "head.bias": (classes,)}
    check_state(expected, {"head.weight": head.weight, "head.bias": head.bias}, f"head of {classes} classes")
    arrays["head/kernel"], arrays["head/bias"] = _numpy(head.weight).T, _numpy(head.bias)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).numpy()


def _run_keras(folder: Path, spec: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Build and save the model in a process that sees no settings of the user's and leaves none behind."""
    (folder / "spec.json").write_text(json.dumps(spec))
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type] # numpy types its own option
    backend = os.environ.get("KERAS_BACKEND") or "torch"  # the file is the same with each
    environment = os.environ | {"KERAS_BACKEND": backend, "KERAS_HOME": str(folder / "home")}
    # -P: modules beside the script must not shadow others
    command = [sys.executable, "-P", str(Path(__file__).with_name("keras_process.py")), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Keras ({backend} backend) could not write the model:\n{done.stderr[-2000:]}")
    return folder / "model.keras"


def _annotate(source: Path, target: Path, notes: dict[str, Any]) -> None:
    """Copy an archive, adding ``notes`` to its metadata, which Keras carries but does not read."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == METADATA:
                content = json.dumps(json.loads(content) | notes).encode()
            new.writestr(name, content)
