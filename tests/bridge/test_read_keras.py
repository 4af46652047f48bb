"""Keras files to torch: exact numbers from every format, equal features, errors that name what is wrong."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from lightning_tl.backbone import Backbone
from lightning_tl.bridge import keras_convention, read_keras
from lightning_tl.errors import InputError
from lightning_tl.keras_layers import Library, name_table
from lightning_tl.weights import find_weights, load_into

FORMATS = ["base.h5", "base.weights.h5", "base.keras", "whole.h5", "whole.weights.h5", "whole.keras"]
FEATURE_TOLERANCE = 5e-6
"""Relative to the largest feature, float32: 53 layers of other summation orders."""


@pytest.mark.parametrize("library", ["torchvision", "timm"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_numbers(keras_folder: Path, name: str, library: Library) -> None:
    weights = read_keras(keras_folder / name, library)
    assert (weights.alpha, weights.convention, weights.class_names) == (0.35, "keras", None)
    assert _equal_to_variables(weights.state, keras_folder, library)


@pytest.mark.parametrize("name", FORMATS)
def test_the_head_comes_along(keras_folder: Path, name: str) -> None:
    weights = read_keras(keras_folder / name, "timm")
    if name.startswith("base"):
        assert weights.head_weight is None
        assert weights.head_bias is None
    else:
        assert weights.head_weight is not None
        assert weights.head_bias is not None
        assert np.array_equal(weights.head_weight.numpy().T, np.load(keras_folder / "kernel.npy"))
        assert weights.head_bias.shape == (4,)


@pytest.mark.parametrize("backbone", ["torchvision/mobilenet_v2", "timm/mobilenetv2_035"])
def test_features_equal_keras_with_lived_in_weights(keras_folder: Path, backbone: str) -> None:
    ours = _features(backbone, keras_folder / "base.keras", 0.35, np.load(keras_folder / "images.npy"))
    assert _error(ours, np.load(keras_folder / "features.npy")) < FEATURE_TOLERANCE


@pytest.mark.parametrize(
    ("backbone", "alpha"),
    [("torchvision/mobilenet_v2", 1.0), ("timm/mobilenetv2_100", 1.0), ("timm/mobilenetv2_035", 0.35)],
)
def test_features_equal_keras_with_real_weights(assets: Path, keras_folder: Path, backbone: str, alpha: float) -> None:
    file = assets / "weights" / f"keras_mobilenet_v2_{alpha}_224_no_top.h5"
    ours = _features(backbone, file, alpha, np.load(keras_folder / "images.npy"))
    assert _error(ours, np.load(keras_folder / f"real_{alpha}.npy")) < FEATURE_TOLERANCE


@pytest.mark.parametrize("by_name", [True, False])
def test_keras_2_files_by_name_and_by_order(keras_folder: Path, tmp_path: Path, by_name: bool) -> None:
    path = _as_keras_2(keras_folder / "base.h5", tmp_path / "old.h5", by_name)
    assert _equal_to_variables(read_keras(path, "timm").state, keras_folder, "timm")


@pytest.mark.parametrize("name", ["base.weights.h5", "whole.weights.h5"])
def test_early_keras_3_files_without_layer_names(keras_folder: Path, tmp_path: Path, name: str) -> None:
    path = shutil.copy(keras_folder / name, tmp_path / name)
    with h5py.File(path, "r+") as file:
        groups: list[h5py.Group] = []
        file.visititems(lambda _, item: groups.append(item) if "name" in item.attrs else None)
        assert groups
        for group in groups:
            del group.attrs["name"]
    assert _equal_to_variables(read_keras(path, "timm").state, keras_folder, "timm")


def _rename(file: h5py.File) -> None:
    file.move("model_weights/Conv1/Conv1/kernel", "model_weights/Conv1/Conv1/core")


def _reshape(file: h5py.File) -> None:
    del file["model_weights/Conv1/Conv1/kernel"]
    file["model_weights/Conv1/Conv1/kernel"] = np.zeros((5, 5, 3, 16), np.float32)


def _add(file: h5py.File) -> None:
    file["model_weights/block_17_expand/kernel"] = np.zeros((1, 1, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_rename, r"missing \(Conv1/kernel\).*unexpected \(Conv1/core\)"),
        (_reshape, r"Conv1/kernel is \(5, 5, 3, 16\) instead of \(3, 3, 3, 16\)"),
        (_add, r"unexpected \(block_17_expand/kernel\)"),
    ],
)
def test_missing_extra_and_misshapen_tensors_are_named(
    keras_folder: Path, tmp_path: Path, damage: Callable[[h5py.File], None], named: str
) -> None:
    path = shutil.copy(keras_folder / "base.h5", tmp_path / "damaged.h5")
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(InputError, match=rf"damaged\.h5 as Keras MobileNetV2 \(alpha 0\.35\).*{named}"):
        read_keras(path, "torchvision")


def test_external_data_is_not_followed(keras_folder: Path, tmp_path: Path) -> None:
    path = shutil.copy(keras_folder / "base.h5", tmp_path / "external.h5")
    (tmp_path / "secret").write_bytes(bytes(4 * 16))
    with h5py.File(path, "r+") as file:
        del file["model_weights/bn_Conv1/bn_Conv1/gamma"]
        file["model_weights/bn_Conv1/bn_Conv1"].create_dataset(
            "gamma", (16,), "float32", external=[(str(tmp_path / "secret"), 0, 64)]
        )
    with pytest.raises(InputError, match="stored in another file"):
        read_keras(path, "timm")


def test_a_linked_file_is_not_followed(keras_folder: Path, tmp_path: Path) -> None:
    path = shutil.copy(keras_folder / "base.h5", tmp_path / "linked.h5")
    with h5py.File(path, "r+") as file:
        del file["model_weights/Conv1"]
        file["model_weights/Conv1"] = h5py.ExternalLink(str(keras_folder / "base.h5"), "model_weights/Conv1")
    with pytest.raises(InputError, match=r"missing \(Conv1/kernel\)"):
        read_keras(path, "timm")


@pytest.mark.parametrize(("epsilon", "expected"), [(1e-5, "torch"), (2e-3, r"epsilon is 0\.001 .* here \[0\.002\]")])
def test_the_epsilon_in_the_file_tells_the_convention(
    keras_folder: Path, tmp_path: Path, epsilon: float, expected: str
) -> None:
    path = tmp_path / "other.keras"
    _copy_archive(
        keras_folder / "base.keras",
        path,
        lambda text: text.replace('"epsilon": 0.001', f'"epsilon": {epsilon}'),
    )
    if expected == "torch":
        assert keras_convention(path) == "torch"
    else:
        with pytest.raises(InputError, match=expected):
            keras_convention(path)


def test_mixed_epsilons_are_refused(keras_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mixed.keras"
    _copy_archive(
        keras_folder / "base.keras",
        path,
        lambda text: text.replace('"epsilon": 0.001', '"epsilon": 1e-05', 1),
    )
    with pytest.raises(InputError, match=r"\[1e-05, 0\.001\]"):
        keras_convention(path)


def test_what_is_no_keras_file_says_so(keras_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "text.h5").write_text("hello")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    for name, reason in (
        ("text.keras", "not a zip"),
        ("text.h5", "signature"),
        ("empty.keras", "model.weights.h5"),
    ):
        with pytest.raises(InputError, match=f"{name}: cannot be read as a Keras file .*{reason}"):
            read_keras(tmp_path / name, "timm")


def test_another_network_says_so(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = ["conv1_conv"]
        file["conv1_conv/conv1_conv/kernel"] = np.zeros((7, 7, 3, 64), np.float32)
    with pytest.raises(InputError, match=r"another architecture.*260 of 260 tensors missing"):
        read_keras(tmp_path / "other.h5", "timm")


def _features(backbone: str, file: Path, alpha: float, images: np.ndarray) -> np.ndarray:
    options = {"width_mult": alpha} if backbone.startswith("torchvision") else {}
    model = Backbone(backbone, "keras", images.shape[1:3], options)
    load_into(model.net, backbone, find_weights(backbone, str(file)))
    with torch.no_grad():
        return model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()  # type: ignore[no-any-return]


def _error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _equal_to_variables(state: dict[str, torch.Tensor], folder: Path, library: Library) -> bool:
    with np.load(folder / "variables.npz") as variables:
        return all(
            np.array_equal(state[row.torch].numpy(), variables[row.keras].transpose(row.axes))
            for row in name_table(library, 0.35)
        ) and all(tensor == 0 for name, tensor in state.items() if name.endswith("num_batches_tracked"))


def _as_keras_2(source: Path, target: Path, by_name: bool) -> Path:
    """The layout of files of Keras 2: ``:0`` after names; with other layer names where not by name."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        names = [str(name) for name in old["model_weights"].attrs["layer_names"]]
        new.attrs["layer_names"] = [_old(name, by_name).encode() for name in names]
        for name in names:
            group = new.create_group(_old(name, by_name))
            paths = [str(path) for path in old["model_weights"][name].attrs["weight_names"]]
            group.attrs["weight_names"] = [f"{_old(path, by_name)}:0".encode() for path in paths]
            for path in paths:
                group[f"{_old(path, by_name)}:0"] = old["model_weights"][name][path][()]
    return target


def _old(name: str, by_name: bool) -> str:
    name = name.replace("depthwise/kernel", "depthwise/depthwise_kernel")
    return name if by_name else f"mobl_{name}".replace("/", "/mobl_")


def _copy_archive(source: Path, target: Path, change: Callable[[str], str]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(json.dumps(json.loads(content))) if name == "config.json" else content)
