"""What an exported file says about itself: plain values that every format carries."""

from importlib.metadata import version
from typing import Any

from lightning_tl.classifier import TransferClassifier
from lightning_tl.export.origin import Origin

Description = dict[str, Any]
"""By name: text, numbers, lists and dicts of them."""


def describe(origin: Origin, classifier: TransferClassifier) -> Description:
    """The description of a checkpoint's model.

    Args:
        origin: of the checkpoint.
        classifier: its model.

    Returns:
        ``class_names`` in label order; ``image_size`` [height, width] in pixels; ``channel_order`` RGB and
        ``pixel_range`` [0, 255] of the input; ``backbone``, ``backbone_args`` and
        ``convention`` as in the config; ``resize`` and ``antialias``, how images were brought to that size, ``unknown``
        where other loaders than ours did it;
        ``divisor`` and ``offset`` of the scaling ``pixels / divisor - offset`` inside the model, by channel;
        ``checkpoint_sha256``, and ``weights_sha256`` of the pretrained weights, empty where there were none;
        ``lightning_tl``, the version. No path: the file goes to other people.
    """
    backbone, data = classifier.backbone, origin.checkpoint.data
    return {
        "class_names": list(classifier.class_names),
        "image_size": list(backbone.image_size),
        "channel_order": "RGB",
        "pixel_range": [0, 255],
        "backbone": backbone.name,
        "backbone_args": dict(classifier.hparams["backbone_args"] or {}),
        "convention": backbone.convention,
        "resize": data.get("resize", "unknown"),
        "antialias": bool(data.get("antialias", False)),
        "divisor": backbone.divisor.flatten().tolist(),
        "offset": backbone.offset.flatten().tolist(),
        "checkpoint_sha256": origin.sha256,
        "weights_sha256": classifier.weights_record["sha256"],
        "lightning_tl": version("lightning-tl"),
    }
