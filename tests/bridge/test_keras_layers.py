"""The layer list against Keras itself, the torch paths against torchvision and timm."""

import json
from pathlib import Path

import pytest
import timm
import torchvision

from lightning_tl.backbone import Backbone
from lightning_tl.keras_layers import ALPHAS, Library, mobilenetv2_layers, name_table, same_widths, torch_modules

TIMM = {0.35: "mobilenetv2_035", 0.5: "mobilenetv2_050", 0.75: "mobilenetv2_075", 1.0: "mobilenetv2_100"}


@pytest.mark.parametrize(("alpha", "pooling"), [(0.25, None), (0.35, None), (1.0, None), (1.0, "avg")])
def test_layers_are_keras_own_in_order(keras_folder: Path, alpha: float, pooling: str | None) -> None:
    theirs = json.loads((keras_folder / "layers.json").read_text())[f"{alpha:g}/{pooling}"]
    ours = mobilenetv2_layers(alpha, pooling == "avg")
    assert [[layer.name, layer.kind] for layer in ours] == theirs["layers"]
    # At 0.25 the first block is as wide as the stem, and so has a shortcut: expanded_conv_add.
    assert len(ours) == 154 + (pooling == "avg") + (alpha == 0.25)


@pytest.mark.parametrize("alpha", [0.25, 0.35, 1.0])
def test_table_has_keras_variables_in_order_and_shape(keras_folder: Path, alpha: float) -> None:
    theirs = json.loads((keras_folder / "layers.json").read_text())[f"{alpha:g}/None"]["variables"]
    assert [[row.keras, list(row.shape)] for row in name_table("timm", alpha)] == theirs


def test_last_20_are_the_21_tensors_that_keras_trains(keras_folder: Path) -> None:
    theirs = json.loads((keras_folder / "layers.json").read_text())["1/None"]
    last = {name for name, _ in torch_modules("torchvision")[-20:]}
    rows = [row for row in name_table("torchvision") if row.keras.split("/")[0] in last]
    trained = [row for row in rows if "moving" not in row.keras]
    assert (theirs["last_20_tensors"], theirs["last_20_parameters"]) == (21, 1_206_080)
    assert [len(trained), sum(_size(row.shape) for row in trained)] == [21, 1_206_080]
    assert (torch_modules("torchvision")[-20][0], torch_modules("torchvision")[-1][0]) == (
        "block_15_expand",
        "out_relu",
    )


@pytest.mark.parametrize("alpha", [0.25, 0.35, 1.0])
def test_unfrozen_are_the_tensors_that_keras_trains(keras_folder: Path, alpha: float) -> None:
    theirs = json.loads((keras_folder / "layers.json").read_text())[f"{alpha:g}/None"]
    backbone = Backbone("torchvision/mobilenet_v2", "keras", (96, 97), {"width_mult": alpha})
    assert [name for name, _ in backbone.layers()] == [name for name, _ in theirs["layers"]]
    trained = backbone.unfreeze_last(20)
    sizes = dict(backbone.named_parameters())
    found = [len(trained), sum(sizes[name].numel() for name in trained)]
    assert found == [theirs["last_20_tensors"], theirs["last_20_parameters"]]
    first = len(theirs["layers"]) - 3  # the input alone is before Conv1 and bn_Conv1
    assert len(backbone.unfreeze_last(first)) == len(backbone.unfreeze_last("all")) - 3


@pytest.mark.parametrize("alpha", [0.25, *ALPHAS])
def test_torchvision_has_these_tensors(alpha: float) -> None:
    _assert_same("torchvision", alpha, torchvision.models.mobilenet_v2(width_mult=alpha))


@pytest.mark.parametrize("alpha", [0.14, 0.28, 0.4, 0.56, 0.6, 0.84, 0.9, 1.12, *ALPHAS])
def test_widths_are_the_same_where_all_tensors_are(alpha: float) -> None:
    tensors = torchvision.models.mobilenet_v2(width_mult=alpha).state_dict().items()
    theirs = {name: tuple(tensor.shape) for name, tensor in tensors}
    same = all(theirs.get(row.torch) == row.torch_shape for row in name_table("torchvision", alpha))
    assert same_widths(alpha) == same


@pytest.mark.parametrize("alpha", [*TIMM, 1.4])
def test_timm_has_these_tensors(alpha: float) -> None:
    _assert_same("timm", alpha, timm.create_model(TIMM.get(alpha, "mobilenetv2_140")))


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_names_are_one_to_one(library: Library) -> None:
    table = name_table(library)
    assert len(table) == len({row.keras for row in table}) == len({row.torch for row in table}) == 260


def test_unknown_library_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: 'keras'"):
        torch_modules("keras")  # type: ignore[arg-type]


def _assert_same(library: Library, alpha: float, model: object) -> None:
    tensors = model.state_dict().items()  # type: ignore[attr-defined]
    theirs = {n: tuple(t.shape) for n, t in tensors if "classifier" not in n and "num_batches" not in n}
    assert {row.torch: row.torch_shape for row in name_table(library, alpha)} == theirs
    paths = {path for _, path in torch_modules(library, alpha) if path}
    assert paths <= {name for name, _ in model.named_modules()}  # type: ignore[attr-defined]


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
