"""Keras files: the model as plain Keras layers, which any backend opens."""

from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from lightning_tl.bridge import Head, write_keras
from lightning_tl.classifier import TransferClassifier
from lightning_tl.errors import InputError
from lightning_tl.export.description import Description
from lightning_tl.export.verify import Runtime
from lightning_tl.keras_layers import Library

BACKENDS = ("tensorflow", "jax", "torch")
"""What Keras runs on (it also predicts on OpenVINO, which does not train)."""


def runtimes() -> tuple[Runtime, ...]:
    """Keras on each backend that is installed."""
    return tuple(
        Runtime(f"Keras on {name}", ("keras", _package(name)), (("KERAS_BACKEND", name),), channels_last=True)
        for name in BACKENDS
        if find_spec(name) is not None
    )


def check_possible(classifier: TransferClassifier) -> None:
    """Raise InputError unless Keras has the network."""
    if not classifier.backbone.counts_as_keras:
        raise InputError(
            "format: keras can hold MobileNetV2 alone (torchvision/mobilenet_v2, timm/mobilenetv2_*). "
            f"Received: a checkpoint of {classifier.backbone.name}; choose onnx, pt2 or safetensors."
        )


def write(path: Path, classifier: TransferClassifier, description: Description) -> None:
    """Write a model of Keras layers, the class names in its metadata.

    Args:
        path: to write, ending in ``.keras``.
        classifier: from ``load_plain``.
        description: of the model; its class names are written.

    Raises:
        InputError: Keras has no such network.
        RuntimeError: Keras failed.
    """
    check_possible(classifier)
    backbone = classifier.backbone
    divisor, offset = (tensor.double().flatten() for tensor in (backbone.divisor, backbone.offset))
    std = divisor / 255
    head = Head(classifier.head.weight, classifier.head.bias, description["class_names"], classifier.dropout.rate)
    write_keras(
        path,
        backbone.net.state_dict(),
        head,
        convention=backbone.convention,
        library=cast(Library, backbone.library),
        image_size=backbone.image_size,
        mean=(offset * std).tolist(),
        std=std.tolist(),
    )


def code(path: Path) -> str:
    """Python that gives ``probabilities`` of ``images``, by Keras alone."""
    return f"""import keras

model = keras.saving.load_model({str(path)!r})
probabilities = model.predict(images, verbose=0)
"""


def _package(backend: str) -> str:
    """The installed package that brings a backend: tensorflow-cpu brings tensorflow."""
    brought = packages_distributions().get(backend, ())
    return next((name for name in brought if name.startswith(backend)), "keras")
