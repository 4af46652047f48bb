"""The code for plain torchvision and timm builds the same network, in each convention."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bridge.test_write_keras import live

from lightning_tl import TransferClassifier
from lightning_tl.bridge import read_keras
from lightning_tl.checkpoint import CheckpointInfo
from lightning_tl.export import keras_file, safetensors_file
from lightning_tl.export.deployed import Deployed
from lightning_tl.export.description import describe
from lightning_tl.export.origin import Origin
from lightning_tl.export.plain_network import plain_network
from lightning_tl.export.tolerances import TOLERANCES

SIZE = (64, 95)  # Keras pads even and odd sides in two ways


def make(backbone: str, convention: str, **options: Any) -> tuple[TransferClassifier, dict[str, Any]]:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"weights": "none", "image_size": SIZE, "convention": convention, **options}
    model = TransferClassifier(["a", "b", "c"], backbone, **settings, fold_batchnorm=False, channels_last=False)
    live(model.backbone)
    for tensor in model.backbone.net.state_dict().values():
        if tensor.dim() == 4:  # torchvision's initial depthwise weights let nothing of the image through
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    origin = Origin(CheckpointInfo(Path("x.ckpt"), model.class_names, {}, 0), "0" * 64, Path())
    return model.eval(), describe(origin, model)


@pytest.mark.parametrize(
    ("backbone", "convention", "options"),
    [
        ("torchvision/mobilenet_v2", "keras", {"backbone_args": {"width_mult": 0.5}}),
        ("torchvision/mobilenet_v2", "torch", {"backbone_args": {"width_mult": 0.5}}),
        ("timm/mobilenetv2_035", "keras", {}),
        ("timm/resnet10t", "torch", {}),
        ("timm/vit_tiny_patch16_224", "torch", {"image_size": (64, 96)}),
    ],
)
def test_it_computes_the_same(backbone: str, convention: str, options: dict[str, Any], tmp_path: Path) -> None:
    model, description = make(backbone, convention, **options)
    path = tmp_path / "model.safetensors"
    safetensors_file.write(path, model, description)
    height, width = model.backbone.image_size
    coarse = np.random.default_rng(0).integers(0, 256, (3, 3, height // 16 + 1, width // 16 + 1), dtype=np.uint8)
    images = coarse.repeat(16, axis=2).repeat(16, axis=3)[:, :, :height, :width]
    scope: dict[str, Any] = {"images": images}
    exec(safetensors_file.code(path, plain_network(model), description), scope)
    with torch.no_grad():
        logits, probabilities = Deployed(model)(torch.from_numpy(images))
    assert logits.std(dim=0).max() > 1e-3 * logits.abs().max()  # else the comparison shows nothing
    tolerance = TOLERANCES["safetensors", "logits"].value
    assert (scope["logits"] - logits).abs().max() <= tolerance * logits.abs().max()
    assert (scope["probabilities"] - probabilities).abs().max() <= tolerance


@pytest.mark.slow  # Keras is a process of its own
def test_the_keras_file_has_every_tensor(tmp_path: Path) -> None:
    model, description = make("timm/mobilenetv2_035", "keras")
    path = tmp_path / "model.keras"
    keras_file.write(path, model, description)
    back = read_keras(path, "timm")
    assert (back.convention, back.class_names) == ("keras", ("a", "b", "c"))
    state = model.backbone.net.state_dict()
    assert all(torch.equal(back.state[name], tensor) for name, tensor in state.items())
    assert back.head_weight is not None
    assert torch.equal(back.head_weight, model.head.weight)
