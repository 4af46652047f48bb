"""Where in an image a model sees a class: Grad-CAM at the backbone's last feature map.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017,
https://arxiv.org/abs/1610.02391.
"""

import matplotlib
import numpy as np
from keras import ops
from numpy.typing import NDArray
from PIL import Image

from keras_ref.backbone import preprocess
from keras_ref.classifier import TransferClassifier

COLOURS = "viridis"
"""Perceptually uniform and told apart by colour-blind eyes: from dark blue for nothing to yellow for the most
(https://matplotlib.org/stable/users/explain/colors/colormaps.html)."""
ALPHA = 0.5
"""Share of those colours in an overlay, in [0, 1]; the rest is the image."""


def gradcam(
    classifier: TransferClassifier, images: NDArray[np.uint8], classes: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """What each place of the last feature map adds to the logit of a class: Grad-CAM's equations 1 and 2.

    differs: no gradient is taken. The head is linear behind global average pooling, so the logit's gradient with
    respect to a channel is the same everywhere: the head's weight of channel and class, divided by the number of
    places. lightning_tl, whose networks pool in other ways too, asks autograd, which gives the same. These are the
    class activation maps of Zhou et al. (https://arxiv.org/abs/1512.04150), cut at 0 and divided by the number of
    places.

    Args:
        classifier: as it is; nothing of it changes.
        images: uint8 in [0, 255], shape (batch, height, width, 3).
        classes: whose logits to explain, int64 (batch,).

    Returns:
        float32 (batch, h, w), at least 0, in the size of the feature map; not scaled. None where that is 1 x 1, as of
        small images.
    """
    scaled = preprocess(images.astype(np.float32))
    features = classifier.backbone.base.predict_on_batch(scaled).astype(np.float32)  # of half precision, perhaps
    places = features.shape[1] * features.shape[2]
    if places == 1:
        return None
    kernel = ops.convert_to_numpy(classifier.model.get_layer("head").kernel).astype(np.float32)
    maps: NDArray[np.float32] = np.einsum("bhwk,kb->bhw", features, kernel[:, classes]) / np.float32(places)
    return np.maximum(maps, 0)


def overlay(images: NDArray[np.uint8], maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Images under the colours of their maps, each map's largest value being the brightest colour.

    differs: Pillow enlarges the maps, with the numbers of torch.

    Args:
        images: uint8 in [0, 255], shape (batch, height, width, 3).
        maps: as from ``gradcam``, (batch, h, w); a map of zeros alone gives the darkest colour everywhere.

    Returns:
        uint8 in [0, 255], shape (batch, height, width, 3).
    """
    size = images.shape[2], images.shape[1]
    known = (Image.fromarray(values) for values in np.nan_to_num(maps.astype(np.float32)))
    heat = np.stack([np.asarray(values.resize(size, Image.Resampling.BILINEAR)) for values in known])
    most = heat.max(axis=(1, 2), keepdims=True).clip(np.finfo(heat.dtype).tiny)
    colours = matplotlib.colormaps[COLOURS](heat / most)[..., :3].astype(np.float32) * 255
    blend: NDArray[np.float32] = images + ALPHA * (colours - images)
    return np.rint(blend).astype(np.uint8)
