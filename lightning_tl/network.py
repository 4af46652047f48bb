"""How a network without its classifier is built, in Keras' or torch's convention, with random weights."""

import difflib
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

from lightning_tl.errors import InputError
from lightning_tl.padding import SameConv2d

Convention = Literal["keras", "torch"]

KERAS_BN_EPSILON = 1e-3
"""keras.applications.mobilenet_v2 builds its BatchNormalization with epsilon=1e-3 ..."""
KERAS_BN_MOMENTUM = 1 - 0.999
"""... and momentum=0.999, which torch counts from the other end."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of torchvision's ImageNet weights, on pixels in [0, 1] (torchvision.transforms._presets)."""

KERAS_TIMM_MODELS = {
    "mobilenetv2_035",
    "mobilenetv2_050",
    "mobilenetv2_075",
    "mobilenetv2_100",
    "mobilenetv2_140",
}
"""timm's models that are Keras' MobileNetV2 at some alpha (110d and 120d are deeper)."""

OTHER_BLOCKS = {"inverted_residual_setting", "block"}
"""Arguments with which torchvision's MobileNetV2 has other layers than Keras'."""


def build_network(
    library: str, name: str, convention: Convention, size: tuple[int, int], options: dict[str, Any]
) -> nn.Module:
    """The bare network with random weights, on the CPU.

    Args:
        library: ``torchvision`` or ``timm``.
        name: ``mobilenet_v2`` of torchvision's, any of timm's.
        convention: of padding and of BatchNorm's constants.
        size: (height, width) of its images, in pixels.
        options: further arguments of the network's constructor.

    Raises:
        InputError: there is no such network, or it cannot be built so.
    """
    if "checkpoint_path" in options:  # timm would load it, unchecked, over the weights that were asked for
        raise InputError(f"backbone_args: give the file as weights. Received: {options}.")
    try:
        if library == "torchvision" and name == "mobilenet_v2":
            net = torchvision.models.mobilenet_v2(weights=None, **options)
            net.classifier = nn.Identity()
            return _keras_convention(net) if convention == "keras" else net
        if library == "timm":
            from lightning_tl import timm_network  # imports timm

            if convention == "keras":
                options = {
                    "pad_type": "same",
                    "bn_eps": KERAS_BN_EPSILON,
                    "bn_momentum": KERAS_BN_MOMENTUM,
                    **options,
                }
            if timm_network.is_timm_name(name):
                return timm_network.build_timm(name, size, options)
    except (AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"backbone: {library}/{name} cannot be built for images of {size} with options {options}: "
            f"{str(error) or type(error).__name__}."
        ) from error
    raise InputError(unknown_backbone(f"{library}/{name}" if name else library))


def unknown_backbone(name: str) -> str:
    """What to say of a ``<library>/<name>`` that there is not: its nearest names."""
    from lightning_tl.timm_network import timm_names  # imports timm

    known = ["torchvision/mobilenet_v2", *(f"timm/{model}" for model in timm_names())]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    near = near or difflib.get_close_matches(f"timm/{name}", known, n=3, cutoff=0.3)
    return (
        f"backbone: give torchvision/mobilenet_v2 or timm/<name>. Received: {name}. "
        f"Nearest names: {', '.join(near) or 'none'}."
    )


def _keras_convention(net: nn.Module) -> nn.Module:
    """Keras' padding and BatchNorm constants for torchvision's MobileNetV2, in place."""
    for parent in list(net.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = KERAS_BN_EPSILON, KERAS_BN_MOMENTUM
            elif isinstance(module, nn.Conv2d) and module.stride != (1, 1):
                setattr(parent, name, _same_padding(module))
    return net


def _same_padding(conv: nn.Conv2d) -> SameConv2d:
    """The convolution with Keras' ``correct_pad``: one pixel more at the bottom and right of even sizes."""
    same = SameConv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]  # both of two numbers
        conv.stride,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    same.load_state_dict(conv.state_dict())
    return same


def scaling(net: nn.Module, convention: Convention) -> tuple[Tensor, Tensor]:
    """Divisor and offset, (3, 1, 1) each, of ``pixels / divisor - offset`` for pixels in [0, 255]."""
    if convention == "keras":  # keras.applications mode "tf": x / 127.5 - 1
        return torch.full((3, 1, 1), 127.5), torch.ones(3, 1, 1)
    cfg = getattr(net, "pretrained_cfg", {})
    mean = torch.tensor(cfg.get("mean", IMAGENET_MEAN), dtype=torch.float64)
    std = torch.tensor(cfg.get("std", IMAGENET_STD), dtype=torch.float64)
    dtype = torch.get_default_dtype()  # the network's
    return (255 * std).to(dtype).view(3, 1, 1), (mean / std).to(dtype).view(3, 1, 1)


def check_size(net: nn.Module, library: str, name: str, size: tuple[int, int]) -> None:
    """Raise InputError for images smaller than the network's total stride, which would leave less than one feature."""
    stride = 32
    if library == "timm":
        info = getattr(net, "feature_info", None) or [{}]
        last = info[-1] if isinstance(info, list) else info.get_dicts()[-1]
        stride = int(last.get("reduction", 1))
    if min(size) < stride:
        raise InputError(
            f"image_size: {name} reduces images by {stride}. Received: {size}; give at least {stride} x {stride}."
        )
