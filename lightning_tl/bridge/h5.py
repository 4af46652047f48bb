"""Variables of a Keras HDF5 file by the name ``layer/variable``, legacy and Keras 3 layouts, without Keras.

Soft and external links, external storage and virtual data sets are not followed: all can name other files. Nothing is
read before its shape is known.
"""

import re
from collections.abc import Iterator

import h5py
import numpy as np

from lightning_tl.keras_layers import WEIGHTS, mobilenetv2_layers

Variables = dict[str, h5py.Dataset]

_ALIASES = {"depthwise_kernel": "kernel"}
"""Keras 2 named the depthwise kernel apart."""
_KIND_NAMES = {
    "conv2d": "Conv2D",
    "depthwise_conv2d": "DepthwiseConv2D",
    "batch_normalization": "BatchNormalization",
}
_DENSE = ("kernel", "bias")
_OURS = {layer.name for layer in mobilenetv2_layers() if layer.torchvision}


def variables(file: h5py.File) -> Variables:
    """Every variable in the file that is not an optimizer's, as ``layer/variable``.

    Raises:
        ValueError: two variables of one name, or data stored outside of the file.
    """
    root = file if file.get("model_weights", getlink=True) is None else _inside(file, "model_weights")
    legacy = any(name.startswith("layer_names") for name in root.attrs)
    found: Variables = {}
    for name, dataset in _legacy(root) if legacy else _keras3(root):
        if dataset.external or dataset.is_virtual:
            raise ValueError(f"{name} is stored in another file")
        if found.setdefault(name, dataset) != dataset and name.split("/")[0] in _OURS:
            raise ValueError(f"two variables are named {name}")
    return found


def array(dataset: h5py.Dataset) -> np.ndarray:
    """The numbers, float32."""
    return np.asarray(dataset[()], dtype=np.float32)


def paddings(file: h5py.File) -> int:
    """ZeroPadding2D layers of the widest container in a Keras 3 file; 4 in Keras' own MobileNetV2."""
    names: list[str] = []
    file.visit(names.append)
    containers = [re.sub(r"/zero_padding2d(_\d+)?$", "", name) for name in names if _is_padding(name)]
    return max((containers.count(container) for container in set(containers)), default=0)


def _inside(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """What lies at ``path``. Raises ValueError where nothing is, or a link to elsewhere on the way."""
    item: h5py.Group | h5py.Dataset = group
    for part in path.strip("/").split("/"):
        if not isinstance(item.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{path} is missing, or a link to another place")
        item = item[part]
    return item


def _is_padding(name: str) -> bool:
    return re.search(r"(^|/)zero_padding2d(_\d+)?$", name) is not None


def _datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """Path to dataset; ``visititems`` follows neither soft nor external links."""
    found: dict[str, h5py.Dataset] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    group.visititems(note)
    return found


def _legacy(root: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Keras 2 and ``model.save("x.h5")``: ``[model/]layer/[layer/]variable[:0]``, by name where one is known.

    Keras itself maps by order alone; so do we where no name is known, in a file that is not nested.
    """
    named = []
    for path, dataset in _datasets(root).items():
        *parents, last = path.split("/")
        variable = last.split(":")[0]
        named.append((f"{parents[-1] if parents else ''}/{_ALIASES.get(variable, variable)}", dataset))
    if any(name.split("/")[0] in _OURS for name, _ in named):
        yield from named
    else:
        yield from _by_order(root) or named


def _by_order(root: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
    """The variables named as MobileNetV2's weighted layers, in order; empty where their numbers disagree."""
    layers = [layer for layer in mobilenetv2_layers() if layer.torchvision]
    groups = [_inside(root, _text(name)) for name in _attribute(root, "layer_names")]
    weighted = [group for group in groups if len(_attribute(group, "weight_names"))]
    counts = [len(_attribute(group, "weight_names")) for group in weighted[: len(layers)]]
    if counts != [len(WEIGHTS[layer.kind]) for layer in layers]:
        return []
    return [
        (f"{layer.name}/{keras}", _inside(group, _text(path)))
        for layer, group in zip(layers, weighted, strict=False)
        for (keras, _), path in zip(WEIGHTS[layer.kind], _attribute(group, "weight_names"), strict=True)
    ]


def _attribute(group: h5py.Group, name: str) -> list[str | bytes]:
    """A list attribute, which Keras splits into ``name0``, ``name1`` … where it exceeds 64 KiB."""
    if name in group.attrs:
        return list(group.attrs[name])
    chunks = sorted(
        (key for key in group.attrs if re.fullmatch(rf"{name}\d+", key)),
        key=lambda key: int(key[len(name) :]),
    )
    return [item for key in chunks for item in group.attrs[key]]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _keras3(root: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """``…layers/conv2d_7/vars/0``; newer releases note the layer's name on ``vars``, older ones count."""
    kinds = {layer.name: layer.kind for layer in mobilenetv2_layers()}
    for path, dataset in _datasets(root).items():
        match = re.fullmatch(r"(?:(.*)/)?([^/]+)/vars/(\d+)", path)
        if match is None or path.startswith("optimizer"):
            continue
        container, group, index = match[1] or "", match[2], int(match[3])
        name = _text(dataset.parent.attrs.get("name", "")) or _counted(root, container, group)
        names = [keras for keras, _ in WEIGHTS.get(kinds.get(name, ""), ())]
        names = names or (list(_DENSE) if group.startswith("dense") else [])
        yield f"{name}/{names[index] if index < len(names) else index}", dataset


def _counted(root: h5py.Group, container: str, group: str) -> str:
    """The layer's name, by its place among the layers of its kind, where the container is a MobileNetV2."""
    match = re.fullmatch(r"(\w+?)(?:_(\d+))?", group)
    kind = _KIND_NAMES.get(match[1]) if match else None
    siblings = root[container] if container else root
    if match is None or kind is None or "depthwise_conv2d_16" not in siblings:
        return f"{container}/{group}"
    same = [layer.name for layer in mobilenetv2_layers() if layer.kind == kind]
    index = int(match[2] or 0)
    return same[index] if index < len(same) else f"{container}/{group}"
