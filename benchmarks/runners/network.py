"""torchvision's own MobileNetV2 with Keras' weights, for what is built without lightning-tl."""

from typing import Any

import torchvision
from torch import nn

from lightning_tl.weights import find_weights, load_into

EPSILON, FROZEN = 1e-3, 16
"""Keras' BatchNorm epsilon, and the blocks before Keras' last 20 layers: those are features.16 to features.18."""


def mobilenet_v2(job: dict[str, Any]) -> tuple[nn.Sequential, int]:
    """The blocks, in inference mode, and their number of features; padded as torchvision pads: the same work."""
    net = torchvision.models.mobilenet_v2(weights=None, width_mult=job["settings"]["alpha"])
    net.classifier = nn.Identity()
    load_into(net, "torchvision/mobilenet_v2", find_weights("torchvision/mobilenet_v2", job["weights"]))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = EPSILON
    features: nn.Sequential = net.features.eval()
    return features, net.last_channel
