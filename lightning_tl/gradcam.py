"""Where in an image a model sees a class: Grad-CAM at the backbone's last feature map.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017,
https://arxiv.org/abs/1610.02391.
"""

import matplotlib
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_tl.classifier import TransferClassifier

COLOURS = "viridis"
"""Perceptually uniform and told apart by colour-blind eyes: from dark blue for nothing to yellow for the most
(https://matplotlib.org/stable/users/explain/colors/colormaps.html)."""
ALPHA = 0.5
"""Share of those colours in an overlay, in [0, 1]; the rest is the image."""


@torch.inference_mode(False)  # whose tensors have no gradient
def gradcam(model: TransferClassifier, images: Tensor, classes: Tensor) -> Tensor | None:
    """What each place of the last feature map adds to the logit of a class: Grad-CAM's equations 1 and 2.

    A channel weighs the mean over all places of the logit's gradient with respect to it; the map is the weighted sum of
    the channels where that is above 0. Where the head is linear behind global average pooling these are the class
    activation maps of Zhou et al. (https://arxiv.org/abs/1512.04150), cut at 0 and divided by the number of places.

    differs: keras_ref, whose one network has such a head, computes them so, without a gradient; here pools and heads
    are of many kinds.

    Args:
        model: in any mode, on the device of ``images``. Nothing of it changes: the gradient is that of the feature map
            alone, weights get none, and no random number is drawn.
        images: uint8 or float in [0, 255], shape (batch, 3, height, width).
        classes: whose logits to explain, int64 (batch,).

    Returns:
        float32 (batch, h, w), at least 0, in the size of the feature map; not scaled. None where that has no places
        to tell apart: vision transformers have tokens instead, and of small images it is 1 x 1.
    """
    backbone = model.backbone
    with torch.no_grad():
        features = backbone.features(backbone.scale(images))
    if not isinstance(features, Tensor) or features.ndim != 4:  # some networks of several branches give a list
        return None
    # A few of timm's networks, such as Swin, keep channels last and say so: (batch, h, w, channels).
    channel, *places = (3, 1, 2) if getattr(backbone.net, "output_fmt", "NCHW") == "NHWC" else (1, 2, 3)
    if features.shape[places[0]] * features.shape[places[1]] == 1:
        return None
    with torch.enable_grad():
        features.requires_grad_()
        # A copy, since pooling may begin in place; the head without dropout, whatever the model's mode is.
        logits = model.head(backbone.pool(features.clone()))
        score = logits.gather(1, classes[:, None]).sum()  # an image's gradient does not depend on the others
        (gradient,) = torch.autograd.grad(score, features)
    weights = gradient.float().mean(dim=places, keepdim=True)
    return (weights * features.detach().float()).sum(dim=channel).relu()


def overlay(images: Tensor, maps: Tensor) -> Tensor:
    """Images under the colours of their maps, each map's largest value being the brightest colour.

    Args:
        images: uint8 in [0, 255], shape (batch, 3, height, width).
        maps: as from ``gradcam``, (batch, h, w); a map of zeros alone gives the darkest colour everywhere.

    Returns:
        uint8 in [0, 255], shape (batch, 3, height, width), on the CPU.
    """
    heat = F.interpolate(maps.cpu().float().nan_to_num()[:, None], images.shape[-2:], mode="bilinear")[:, 0]
    most = heat.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(heat.dtype).tiny)
    rgba = matplotlib.colormaps[COLOURS]((heat / most).numpy())  # in [0, 1], (batch, height, width, 4)
    colours = torch.from_numpy(rgba[..., :3]).permute(0, 3, 1, 2).float() * 255
    return torch.lerp(images.cpu().float(), colours, ALPHA).round().to(torch.uint8)
