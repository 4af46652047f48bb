"""Torch to Keras: plain Keras opens the file and predicts the same; reading it back is exact."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from bridge.keras_side import run_keras, save_images
from torch import Tensor

from lightning_tl.backbone import Backbone
from lightning_tl.bridge import Head, find_alpha, read_keras, write_keras
from lightning_tl.errors import InputError
from lightning_tl.keras_layers import Library, mobilenetv2_layers
from lightning_tl.network import Convention
from lightning_tl.weights import find_weights, load_into

PROBABILITY_TOLERANCE = 2e-4
"""float32; 53 layers, other summation orders, and scaling written as multiplication. The head makes much of the little
in which the images differ: our own float32 is 8e-5 from its float64."""
CASES: list[tuple[Convention, Library, str, float]] = [
    ("keras", "timm", "timm/mobilenetv2_035", 0.35),
    ("torch", "torchvision", "torchvision/mobilenet_v2", 0.5),
]
CLASSES = ["ant", "bee", "größe"]


@dataclass
class Exported:
    """A model on our side, and the file made of it."""

    convention: Convention
    library: Library
    backbone: str
    alpha: float
    model: Backbone
    head: Head
    path: Path

    @property
    def state(self) -> dict[str, Tensor]:
        return dict(self.model.net.state_dict())

    @torch.no_grad()
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        logits = self.model(torch.from_numpy(images).permute(0, 3, 1, 2)) @ self.head.weight.T + self.head.bias
        return logits.softmax(1).numpy()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory, home: Path) -> list[Exported]:
    """One model in each convention, both files in one folder."""
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("KERAS_HOME", raising=False)
        patch.delenv("KERAS_BACKEND", raising=False)
        return [export(folder, *case) for case in CASES]


@pytest.fixture(params=[0, 1], ids=["keras-timm", "torch-torchvision"])
def exported(request: pytest.FixtureRequest, exports: list[Exported]) -> Exported:
    return exports[request.param]


@pytest.fixture(scope="module")
def images(exports: list[Exported]) -> np.ndarray:
    """What plain Keras has predicted by every export."""
    made = save_images(exports[0].path.parent)
    run_keras("predict", exports[0].path.parent)
    return made


def export(folder: Path, convention: Convention, library: Library, name: str, alpha: float) -> Exported:
    torch.manual_seed(0)
    options = {"width_mult": alpha} if library == "torchvision" else {}
    model = Backbone(name, convention, (96, 97), options)
    live(model)
    head = telling_apart(model, torch.from_numpy(save_images(folder)).permute(0, 3, 1, 2))
    made = Exported(convention, library, name, alpha, model, head, folder / f"export_{convention}.keras")
    write_keras(made.path, made.state, head, convention=convention, library=library, image_size=(96, 97))
    return made


def live(model: Backbone) -> None:
    """Tensors such as training leaves them, not those of a new model, of which all images look alike."""
    for name, tensor in model.net.state_dict().items():
        if tensor.dim() == 1:
            low, high = (0.5, 1.5) if name.endswith(("weight", "var")) else (-0.3, 0.3)
            tensor.uniform_(low, high)
        elif tensor.dim() == 4:
            torch.nn.init.kaiming_normal_(tensor)


@torch.no_grad()
def telling_apart(model: Backbone, images: Tensor) -> Head:
    """Such that images get various classes, none of them for certain."""
    weight = torch.randn(3, 1280)
    logits = model(images) @ weight.T
    spread = logits.std(dim=0)
    return Head(weight / spread[:, None], -logits.mean(dim=0) / spread, CLASSES, dropout=0.3)


def test_plain_keras_predicts_the_same(exported: Exported, images: np.ndarray) -> None:
    ours = exported.probabilities(images)
    assert ours.std(axis=0).min() > 0.1  # otherwise the comparison shows nothing
    with np.load(exported.path.with_suffix(".npz")) as theirs:
        assert np.abs(theirs["uint8"] - ours).max() < PROBABILITY_TOLERANCE
        assert np.array_equal(theirs["uint8"], theirs["float32"])
        assert list(theirs["last"]) == [layer.name for layer in mobilenetv2_layers()[-20:]]


def test_reading_it_back_is_exact(exported: Exported) -> None:
    back = read_keras(exported.path, exported.library)
    assert (back.convention, back.alpha, back.class_names) == (
        exported.convention,
        exported.alpha,
        tuple(CLASSES),
    )
    state = exported.state
    assert all(torch.equal(back.state[name], state[name]) for name in state)
    assert back.head_weight is not None
    assert back.head_bias is not None
    assert torch.equal(back.head_weight, exported.head.weight)
    assert torch.equal(back.head_bias, exported.head.bias)


def test_the_layers_around_the_backbone_have_the_numbers_of_the_run(exported: Exported) -> None:
    """What is predicted shows no dropout."""
    with zipfile.ZipFile(exported.path) as archive:
        config = json.loads(archive.read("config.json"))["config"]
    found = {layer["class_name"]: layer["config"] for layer in config["layers"]}
    assert found["Dropout"]["rate"] == 0.3
    assert ("Normalization" in found) == (exported.convention == "torch")
    if exported.convention == "torch":
        assert found["Normalization"]["mean"] == pytest.approx([0.485, 0.456, 0.406])
        assert found["Normalization"]["variance"] == pytest.approx([0.229**2, 0.224**2, 0.225**2])


def test_weights_that_keras_saves_of_it_keep_the_convention(exported: Exported, images: np.ndarray) -> None:
    back = read_keras(exported.path.with_suffix(".weights.h5"), exported.library)
    assert back.convention == exported.convention
    assert all(torch.equal(back.state[name], tensor) for name, tensor in exported.state.items())


def test_it_can_be_given_as_weights(exported: Exported) -> None:
    found = find_weights(exported.backbone, str(exported.path))
    options = {"width_mult": exported.alpha} if exported.library == "torchvision" else {}
    again = Backbone(exported.backbone, found.convention, (96, 97), options)
    load_into(again.net, exported.backbone, found)
    images = torch.randint(0, 256, (1, 3, 96, 97), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(images), exported.model(images))


def test_nothing_is_left_in_the_users_home(exported: Exported, home: Path) -> None:
    assert exported.path.exists()
    assert not (home / ".keras").exists()
    assert sorted(path.name for path in exported.path.parent.glob("*.keras")) == [
        "export_keras.keras",
        "export_torch.keras",
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("features.0.0.weight"), r"missing \(features\.0\.0\.weight\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"unexpected \(extra\)"),
        (
            lambda state: state.update({"features.0.1.bias": torch.zeros(9)}),
            r"features\.0\.1\.bias is \(9,\) instead of \(16,\)",
        ),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_a_state_that_does_not_fit_is_named(tmp_path: Path, change: object, named: str) -> None:
    state = Backbone("torchvision/mobilenet_v2", "torch", (64, 64), {"width_mult": 0.35}).net.state_dict()
    change(state)  # type: ignore[operator]
    with pytest.raises(InputError, match=rf"torchvision MobileNetV2 \(alpha 0\.35\).*{named}"):
        _write(tmp_path / "x.keras", state)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "x.h5"}, r"ending in \.keras"),
        ({"image_size": 31}, "at least 32 x 32"),
        ({"convention": "tf"}, "convention: keras or torch"),
        ({"head": Head(torch.zeros(2, 1280), torch.zeros(2), CLASSES)}, r"head of 3 classes.*\(2, 1280\)"),
        ({"head": Head(torch.zeros(3, 1280), torch.zeros(3), CLASSES, dropout=1.0)}, "dropout"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    state = Backbone("torchvision/mobilenet_v2", "torch", (64, 64), {"width_mult": 0.35}).net.state_dict()
    path = tmp_path / str(arguments.pop("path", "x.keras"))
    with pytest.raises(InputError, match=message):
        _write(path, state, **arguments)


def test_a_failure_of_keras_is_told_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "nonesuch")
    state = Backbone("torchvision/mobilenet_v2", "torch", (64, 64), {"width_mult": 0.35}).net.state_dict()
    with pytest.raises(RuntimeError, match="nonesuch backend"):
        _write(tmp_path / "x.keras", state)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("alpha", [0.35, 1.0, 1.4, 0.6])
def test_the_width_is_told_by_the_shapes(alpha: float) -> None:
    state = Backbone("torchvision/mobilenet_v2", "torch", (64, 64), {"width_mult": alpha}).net.state_dict()
    found = find_alpha(state, "torchvision")
    assert mobilenetv2_layers(found) == mobilenetv2_layers(alpha)
    assert found == alpha or alpha == 0.6


def _write(path: Path, state: dict[str, Tensor], **changes: object) -> None:
    arguments: dict[str, object] = {"convention": "torch", "library": "torchvision", "image_size": 96}
    arguments |= {"head": Head(torch.zeros(3, 1280), torch.zeros(3), CLASSES)} | changes
    write_keras(path, state, **arguments)  # type: ignore[arg-type]
