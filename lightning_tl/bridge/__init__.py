"""MobileNetV2 between Keras files and torch state dicts, both ways, by one name table (``keras_layers``)."""

from lightning_tl.bridge.read import KerasWeights, keras_convention, read_keras
from lightning_tl.bridge.shapes import check_state
from lightning_tl.bridge.width import find_alpha
from lightning_tl.bridge.write import Head, write_keras

__all__ = [
    "Head",
    "KerasWeights",
    "check_state",
    "find_alpha",
    "keras_convention",
    "read_keras",
    "write_keras",
]
