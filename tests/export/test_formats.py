"""Each format: the file opens elsewhere, says what the checkpoint says, and tells what it is."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export.conftest import CLASSES, Export, run_code
from safetensors import safe_open

from lightning_tl import TransferClassifier
from lightning_tl.export.export import export
from lightning_tl.export.images import run_images
from lightning_tl.export.int8 import logits_of, measure, quantize
from lightning_tl.export.origin import find_origin
from lightning_tl.export.request import Request
from lightning_tl.weights import sha256

SHAPES = {"onnx": (4, 3, 32, 32), "pt2": (4, 3, 32, 32), "safetensors": (4, 3, 32, 32), "keras": (4, 32, 32, 3)}


def blocks(card: Path) -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```", card.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(code)


def reference(run: Path) -> TransferClassifier:
    return TransferClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True).eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Not the ones that the command compares on: uint8 (4, 3, 32, 32)."""
    coarse = np.random.default_rng(5).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    return coarse.repeat(4, axis=2).repeat(4, axis=3)


@pytest.fixture(scope="module")
def probabilities(run: Path, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found = reference(run)(torch.from_numpy(images)).softmax(1).numpy()
    assert found.std(axis=0).max() > 0.01  # else the comparisons show nothing
    return np.asarray(found)


@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors", pytest.param("keras", marks=pytest.mark.slow)])
def test_the_code_of_the_card_answers_as_the_checkpoint_does(
    kind: str,
    exported: Export,
    images: np.ndarray,
    probabilities: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Word for word, but for the images; that it needs nothing of ours the command itself makes sure of."""
    path = exported(kind)
    code = blocks(path.with_name(path.name + ".md"))
    black, count = re.subn(r"np\.zeros\(.*?\), np\.uint8\)", f"np.load({str(tmp_path / 'images.npy')!r})", code)
    assert count == 1
    np.save(tmp_path / "images.npy", images if kind != "keras" else images.transpose(0, 2, 3, 1))
    save = f"\nnp.save({str(tmp_path / 'found.npy')!r}, np.asarray(probabilities))"
    if kind == "keras":
        run_code(black + save, path.parent)
    else:
        monkeypatch.chdir(path.parent)
        exec(black + save, {})
    assert np.abs(np.load(tmp_path / "found.npy") - probabilities).max() < 2e-5


@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors"])
def test_nothing_else_is_left_and_no_path_of_this_machine_is_inside(kind: str, run: Path, exported: Export) -> None:
    path = exported(kind)
    beside = {f"model.{kind}", f"model.{kind}.md"} | ({"model.safetensors.json"} if kind == "safetensors" else set())
    assert {found.name for found in path.parent.iterdir() if found.name != "home"} == beside
    content = path.read_bytes()
    for folder in (Path(__file__).parents[2], Path(torch.__file__).parent, run.parent, path.parent):
        assert str(folder).encode() not in content


def test_the_onnx_file_says_what_it_is(run: Path, exported: Export) -> None:
    path = exported("onnx")
    model = onnx.load(path, load_external_data=False)
    assert [(opset.domain, opset.version) for opset in model.opset_import if not opset.domain] == [("", 18)]
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["class_names"]) == CLASSES
    assert json.loads(told["image_size"]) == [32, 32]
    assert told["convention"] == "torch"
    assert told["checkpoint_sha256"] == sha256(run / "checkpoints" / "best.ckpt")
    assert not [weight.name for weight in model.graph.initializer if weight.external_data]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [3, 32, 32])
    assert isinstance(given.shape[0], str)
    assert [(out.name, out.type) for out in session.get_outputs()] == [
        ("logits", "tensor(float)"),
        ("probabilities", "tensor(float)"),
    ]


def test_the_pt2_file_says_what_it_is(exported: Export) -> None:
    extra = {"lightning_tl.json": ""}
    torch.export.load(exported("pt2"), extra_files=extra)
    assert json.loads(extra["lightning_tl.json"])["class_names"] == CLASSES


def test_the_safetensors_file_begins_a_new_run(run: Path, exported: Export, images: np.ndarray) -> None:
    path = exported("safetensors")
    again = TransferClassifier(["a", "b"], "timm/mobilenetv2_035", str(path), image_size=32)
    assert again.weights_record == {"source": f"file {path}", "sha256": sha256(path)}
    with torch.no_grad():
        pixels = torch.from_numpy(images)
        assert torch.equal(again.backbone(pixels), reference(run).backbone(pixels))


def test_the_config_says_how_to_build_the_network(exported: Export) -> None:
    path = exported("safetensors")
    config = json.loads(path.with_name("model.safetensors.json").read_text())
    assert config["plain"] == {
        "library": "timm",
        "model": "mobilenetv2_035",
        "arguments": {"num_classes": 4},
        "classifier": "classifier",
    }
    assert (config["class_names"], config["image_size"], config["convention"]) == (CLASSES, [32, 32], "torch")
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["lightning_tl"])["class_names"] == CLASSES
        assert file.get_tensor("classifier.weight").shape == (4, 1280)


def test_eight_bits_are_smaller_and_keep_the_answers(run: Path, exported: Export, tmp_path: Path) -> None:
    images, path = (
        run_images(find_origin(str(run / "checkpoints" / "best.ckpt"), "runs"), (32, 32)),
        tmp_path / "int8.onnx",
    )
    quantize(exported("onnx"), path, images["train"].spread(16))
    model = onnx.load(path)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}
    assert json.loads({e.key: e.value for e in model.metadata_props}["class_names"]) == CLASSES
    for count in (1, 5):
        assert logits_of(path, np.zeros((count, 3, 32, 32), np.uint8)).shape == (count, 4)
    found = measure(exported("onnx"), path, images["train"].spread(16), images["val"])
    assert found.calibration == "16 of 32 images of the run's train split"
    assert found.held_out == "8 images of the run's val split"
    assert found.int8_bytes == path.stat().st_size < found.float_bytes / 2
    assert found.agreement > 0.7
    pixels, labels = next(images["val"].batches(8))
    said = reference(run)(pixels).argmax(dim=1)
    assert found.before == float((said == labels).float().mean())


def test_eight_bits_are_calibrated_on_what_was_trained_on_and_measured_on_what_was_not(
    run: Path, exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_: object, path: Path) -> None:
        shutil.copy(exported("onnx"), path)  # torch traces for long

    monkeypatch.setattr("lightning_tl.export.export._write", write)
    export(Request(str(run / "checkpoints" / "best.ckpt"), "onnx", tmp_path / "model.onnx", int8=True))
    card = (tmp_path / "model.onnx.md").read_text(encoding="utf-8")
    assert "Measured on 8 images of the run's val split; " in card
    assert "activations are from 32 images of the run's train split." in card
