"""Tensors out of ``.pth``, ``.pt`` and ``.safetensors`` files. Nothing is unpickled but tensors."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lightning_tl.errors import InputError

TORCH = (".pth", ".pt", ".bin")
KERAS = (".h5", ".keras")
SUFFIXES = (*TORCH, ".safetensors", *KERAS)

_NESTED = ("state_dict", "model")
"""Keys under which training scripts keep the state dict."""
_WRAPPED = re.compile(r"(_orig_mod\.)?(module\.)?(_orig_mod\.)?")
"""What ``torch.compile`` and data-parallel training put before every name."""


def read_torch(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``torch.save`` file, without the prefixes of data-parallel training and ``torch.compile``.

    Raises:
        InputError: a Lightning checkpoint, pickled objects, or not a state dict at all.
    """
    try:
        with warnings.catch_warnings():  # of pickles that are refused in the same breath
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"weights: {path} is not a file of tensors alone, and pickled objects are never loaded. "
            "Save the model's state_dict() with torch.save, or use .safetensors."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"weights: {path} cannot be read by torch.load ({_line(error)}).") from error
    if isinstance(content, Mapping) and "pytorch-lightning_version" in content:
        raise InputError(_checkpoint(path))
    return _tensors(path, content)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a ``.safetensors`` file. Raises InputError when it is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"weights: {path} cannot be read as safetensors ({_line(error)}).") from error


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The text header of a ``.safetensors`` file. Raises InputError when it is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(f"weights: {path} cannot be read as safetensors ({_line(error)}).") from error


def _tensors(path: Path, content: Any) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"weights: {path} holds no state dict. Save the model's state_dict() with torch.save.")
    return {_WRAPPED.sub("", str(name), count=1): tensor for name, tensor in content.items()}


def _checkpoint(path: Path) -> str:
    return (
        f"weights: {path} is a Lightning checkpoint of a whole run. Continue from it with --ckpt_path, "
        "use it with TransferClassifier.load_from_checkpoint, or begin from its backbone: write its weights with "
        "lightning-tl export CKPT --format safetensors --output FILE.safetensors, and give that file."
    )


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
