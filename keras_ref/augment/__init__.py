"""Keras' augmentation layers, with their own random streams or with draws from outside."""

from keras_ref.augment.grid import augmented_samples, lay_out
from keras_ref.augment.injected import Injected
from keras_ref.augment.registry import TRANSFORMS, from_config

__all__ = ["TRANSFORMS", "Injected", "augmented_samples", "from_config", "lay_out"]
