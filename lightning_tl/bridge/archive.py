"""A ``.keras`` file: a zip of configuration and weights, read as data; no code in it runs."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_tl.keras_layers import mobilenetv2_layers

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
"""Members that Keras writes (``keras/src/saving/saving_lib.py``)."""

_LIMITS = {CONFIG: 64 << 20, METADATA: 64 << 20, WEIGHTS: 4 << 30}
"""Bytes once unpacked; more is no MobileNetV2, however small the archive is."""

EPSILONS = {1e-3: "keras", 1e-5: "torch"}
"""BatchNorm's epsilon tells the convention: keras.applications builds with 1e-3, torch's default is 1e-5."""


@dataclass(frozen=True)
class Archive:
    """What a ``.keras`` file holds.

    Attributes:
        config: the model's own description.
        metadata: Keras' version and date, and what we add (``class_names``).
        weights: the HDF5 file within.
    """

    config: dict[str, Any]
    metadata: dict[str, Any]
    weights: io.BytesIO


def open_archive(path: Path) -> Archive:
    """Read the three members.

    Raises:
        ValueError: a member is missing or of unreasonable size.
        zipfile.BadZipFile: not a zip.
    """
    with zipfile.ZipFile(path) as archive:
        config = json.loads(_member(archive, CONFIG))
        metadata = json.loads(_member(archive, METADATA)) if METADATA in archive.namelist() else {}
        return Archive(config, metadata, io.BytesIO(_member(archive, WEIGHTS)))


def convention_of(config: Any) -> str:
    """``keras`` or ``torch``, by the epsilon of MobileNetV2's BatchNormalization layers in a configuration.

    Raises:
        ValueError: no such layer, or an epsilon that belongs to neither, or both.
    """
    ours = {layer.name for layer in mobilenetv2_layers() if layer.kind == "BatchNormalization"}
    found = {layer["epsilon"] for layer in _batch_norms(config) if layer.get("name") in ours}
    conventions = {EPSILONS.get(epsilon) for epsilon in found}
    if not found:
        raise ValueError("its config.json describes no MobileNetV2 with Keras' layer names")
    if len(conventions) > 1 or None in conventions:
        raise ValueError(f"BatchNormalization epsilon is 0.001 (keras) or 1e-05 (torch), but here {sorted(found)}")
    return str(conventions.pop())


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if name not in archive.namelist():
        raise ValueError(f"it has no member {name}")
    if archive.getinfo(name).file_size > _LIMITS[name]:
        raise ValueError(f"its member {name} is unreasonably large")
    return archive.read(name)


def _batch_norms(node: Any) -> Iterator[dict[str, Any]]:
    """Configurations of the BatchNormalization layers at any depth."""
    if isinstance(node, dict):
        if node.get("class_name") == "BatchNormalization" and "epsilon" in node.get("config", {}):
            yield node["config"]
        for child in node.values():
            yield from _batch_norms(child)
    elif isinstance(node, list):
        for child in node:
            yield from _batch_norms(child)
