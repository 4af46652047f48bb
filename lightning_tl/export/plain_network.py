"""The same network as torchvision or timm builds it by itself, classifier included, and the code that builds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
from torch import Tensor, nn

from lightning_tl.backbone import Backbone
from lightning_tl.classifier import TransferClassifier
from lightning_tl.errors import InputError


@dataclass(frozen=True)
class PlainNetwork:
    """How to build a network without lightning_tl.

    Attributes:
        library: torchvision or timm.
        name: of the network there.
        arguments: of ``torchvision.models.mobilenet_v2`` or ``timm.create_model``, plain values.
        classifier: name of its last linear layer.
    """

    library: str
    name: str
    arguments: dict[str, Any]
    classifier: str

    def code(self) -> str:
        """Python that sets ``network``; its weights are random, and its library has been imported."""
        words = "".join(f", {name}={value!r}" for name, value in self.arguments.items())
        if self.library == "timm":
            return f"network = timm.create_model({self.name!r}{words})\n"
        return f"network = torchvision.models.{self.name}({words[2:]})\n"


KERAS_CONVENTION = """for module in network.modules():  # as Keras pads, and its BatchNorm
    if isinstance(module, torch.nn.BatchNorm2d):
        module.eps = 1e-3
    elif isinstance(module, torch.nn.Conv2d) and module.stride == (2, 2):
        module.padding = (0, 0)
        module.register_forward_pre_hook(
            lambda _, x: torch.nn.functional.pad(x[0], (x[0].shape[3] % 2, 1, x[0].shape[2] % 2, 1))
        )
"""
"""For torchvision's network, whose constructor has no words for it; all its convolutions of stride 2 are 3 x 3."""


def plain_network(classifier: TransferClassifier) -> PlainNetwork:
    """How to build the network of a classifier.

    Raises:
        InputError: the network does not end in one linear layer.
    """
    backbone = classifier.backbone
    options = dict(classifier.hparams["backbone_args"] or {})
    options["num_classes"] = classifier.num_classes
    if backbone.library == "torchvision":
        return PlainNetwork("torchvision", backbone.model_name, {"weights": None, **options}, "classifier.1")
    if backbone.convention == "keras":
        options = {"pad_type": "same", "bn_eps": 1e-3, **options}
    arguments = {**_size_argument(backbone, options), **options}
    name = _linear_name(timm.create_model(backbone.model_name, **arguments), backbone)
    return PlainNetwork("timm", backbone.model_name, arguments, name)


def plain_state(classifier: TransferClassifier, network: PlainNetwork) -> dict[str, Tensor]:
    """The tensors by their names in that network."""
    head = {f"{network.classifier}.{name}": tensor for name, tensor in classifier.head.state_dict().items()}
    return {name: tensor.contiguous() for name, tensor in {**classifier.backbone.net.state_dict(), **head}.items()}


def _size_argument(backbone: Backbone, options: Mapping[str, Any]) -> dict[str, Any]:
    """``img_size`` where the network is built for one."""
    size = {"img_size": backbone.image_size}
    try:
        timm.create_model(backbone.model_name, **size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return {}
    return size


def _linear_name(network: nn.Module, backbone: Backbone) -> str:
    """Name of the classifier, which timm's configuration tells."""
    name = getattr(network, "pretrained_cfg", {}).get("classifier")
    layer = dict(network.named_modules()).get(name) if isinstance(name, str) else None
    if not isinstance(layer, nn.Linear) or layer.in_features != backbone.num_features:
        raise InputError(
            f"format: safetensors is written for networks that end in one linear layer, which {backbone.name} does "
            "not. Choose onnx or pt2."
        )
    return str(name)
