"""Grad-CAM: its formula, on every kind of backbone, without a trace in the model."""

import pickle
import random
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import noise
from torch import Tensor

from lightning_tl import TransferClassifier
from lightning_tl.gradcam import ALPHA, COLOURS, gradcam, overlay
from lightning_tl.phase import Phase

CLASSES = ("a", "b", "c")
SIDE = 96
CHOSEN = torch.tensor([2, 0])
SWIN = "timm/swin_tiny_patch4_window7_224"


def make(backbone: str = "timm/mobilenetv2_035", **options: Any) -> TransferClassifier:
    """A model of random weights, the same every time, whose BatchNorm does something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TransferClassifier(CLASSES, backbone, **{"weights": "none", "image_size": SIDE, **options})
        with torch.no_grad():
            for name, buffer in model.backbone.net.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    buffer.add_(torch.rand(buffer.shape) - 0.5)
    return model


@pytest.fixture(scope="module")
def images() -> Tensor:
    return noise(2, SIDE, SIDE)


def feature_map(model: TransferClassifier, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model.backbone.features(model.backbone.scale(images))


@pytest.mark.parametrize("backbone", ["torchvision/mobilenet_v2", "timm/mobilenetv2_035"])
def test_behind_global_average_pooling_it_is_the_class_activation_map(images: Tensor, backbone: str) -> None:
    """Zhou et al. 2016: the head's weights of the class times the channels; here divided by the number of places."""
    model = make(backbone).double()
    features = feature_map(model, images.double())
    places = features.shape[2] * features.shape[3]
    assert places == 9
    cam = torch.einsum("bk,bkhw->bhw", model.head.weight[CHOSEN].detach(), features) / places
    assert (cam < 0).any()
    assert (cam > 0).any()
    maps = gradcam(model, images.double(), CHOSEN)
    assert maps is not None
    torch.testing.assert_close(maps, cam.relu().float(), rtol=1e-5, atol=1e-8)  # gradcam gives float32


def test_behind_layers_that_are_not_linear_it_is_the_papers_formula(images: Tensor) -> None:
    """MobileNetV3 has a convolution and an activation between pooling and head: numeric gradients, in float64."""
    model = make("timm/mobilenetv3_small_050").double()
    features = feature_map(model, images.double())

    @torch.no_grad()
    def logit(change: Tensor) -> Tensor:
        return model.head(model.backbone.pool(features + change)).gather(1, CHOSEN[:, None])[:, 0]

    alphas = torch.empty(features.shape[:2], dtype=torch.float64)
    for channel in range(features.shape[1]):  # to move all places alike gives the sum of their gradients
        change = torch.zeros_like(features)
        change[:, channel] = 1e-4
        alphas[:, channel] = (logit(change) - logit(-change)) / 2e-4
    alphas /= features.shape[2] * features.shape[3]
    expected = torch.einsum("bk,bkhw->bhw", alphas, features).relu()
    assert expected.max() > 0
    maps = gradcam(model, images.double(), CHOSEN)
    assert maps is not None
    torch.testing.assert_close(maps.double(), expected, rtol=1e-3, atol=1e-3 * float(expected.max()))


def test_a_network_with_channels_last_is_read_so(images: Tensor) -> None:
    """Swin has nothing between its last map, (batch, h, w, channels), and a linear head but the mean."""
    model = make(SWIN).double()
    features = feature_map(model, images.double())
    assert features.shape == (2, 3, 3, model.backbone.num_features)
    cam = torch.einsum("bk,bhwk->bhw", model.head.weight[CHOSEN].detach(), features) / 9
    maps = gradcam(model, images.double(), CHOSEN)
    assert maps is not None
    torch.testing.assert_close(maps, cam.relu().float(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "backbone",
    ["timm/resnet10t", "timm/tf_efficientnet_lite0", "timm/convnext_atto", "timm/dla34"],
)
def test_other_networks_have_maps_too(images: Tensor, backbone: str) -> None:
    maps = gradcam(make(backbone), images, CHOSEN)
    assert maps is not None
    assert maps.dtype == torch.float32
    assert maps.shape == (2, 3, 3)
    assert torch.isfinite(maps).all()
    assert (maps >= 0).all()
    assert maps.amax() > 0


@pytest.mark.parametrize("backbone", ["timm/vit_tiny_patch16_224", "timm/mobilenetv2_035"])
def test_there_is_no_map_of_tokens_nor_of_a_single_place(backbone: str) -> None:
    assert gradcam(make(backbone, image_size=32), noise(2, 32, 32), CHOSEN) is None


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("unfreeze", [0, 20, "all"])
def test_nothing_of_it_stays_in_the_model(images: Tensor, unfreeze: Any, training: bool) -> None:
    model = make(dropout=0.5)
    model.set_phase(Phase("p", epochs=1, lr=1e-3, unfreeze_last=unfreeze))
    model.train(training)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    output = model.backbone(images)
    before = snapshot(model)
    first = gradcam(model, images, CHOSEN)
    with torch.inference_mode():
        second = gradcam(model, images, CHOSEN)
    assert snapshot(model) == before
    assert first is not None
    assert second is not None
    assert torch.equal(first, second), "no dropout"
    assert torch.equal(model.backbone(images), output), "folded again as the phase needs it"


def snapshot(model: TransferClassifier) -> Any:
    """All that a pass through the model could change, bit for bit."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return (
        {name: (value.detach().numpy().tobytes(), value._version) for name, value in tensors.items()},
        {name: value.requires_grad for name, value in tensors.items()},
        {name: None if p.grad is None else p.grad.numpy().tobytes() for name, p in model.named_parameters()},
        {name: module.training for name, module in model.named_modules()},
        torch.get_rng_state().numpy().tobytes(),
        pickle.dumps(np.random.get_state()),
        random.getstate(),
        (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_of_half_precision_has_a_map_of_float32(images: Tensor, dtype: torch.dtype) -> None:
    model = make().to(dtype)
    features = feature_map(model, images)
    assert features.dtype == dtype
    cam = torch.einsum("bk,bkhw->bhw", model.head.weight[CHOSEN].detach().float(), features.float()).relu() / 9
    maps = gradcam(model, images, CHOSEN)
    assert maps is not None
    assert maps.dtype == torch.float32
    assert cam.max() > 0
    torch.testing.assert_close(maps, cam, rtol=0, atol=0.02 * float(cam.max()))  # gradients of 8 bits or more


def test_an_overlay_is_half_image_and_half_colour() -> None:
    images = noise(2, 12, 20)
    maps = torch.stack([torch.tensor([[0.0, 0.0], [2.0, 4.0]]), torch.zeros(2, 2)])
    blend = overlay(images, maps)
    assert blend.dtype == torch.uint8
    assert blend.shape == images.shape
    heat = F.interpolate(maps[:, None], (12, 20), mode="bilinear")[:, 0]
    assert heat[0, -1, -1] == 4
    for batch, row, column in ((0, -1, -1), (0, 0, 0), (0, 6, 10), (1, 3, 3)):
        colour = 255 * np.array(matplotlib.colormaps[COLOURS](float(heat[batch, row, column]) / 4)[:3])
        expected = (1 - ALPHA) * images[batch, :, row, column].numpy() + ALPHA * colour
        assert np.abs(blend[batch, :, row, column].numpy() - expected).max() <= 0.51


def test_an_overlay_of_what_is_no_number_is_a_picture_too() -> None:
    images = noise(1, 8, 8)
    assert torch.equal(overlay(images, torch.full((1, 2, 2), torch.nan)), overlay(images, torch.zeros(1, 2, 2)))
