"""Random augmentations with Keras' arguments, a draw for each sample, and any source of randomness."""

from lightning_tl.augment.base import Augmentation, Geometric, Params
from lightning_tl.augment.color_jitter import ColorJitter
from lightning_tl.augment.grid import augmentation_grid, augmented_samples, lay_out, save_grid
from lightning_tl.augment.pipeline import AugmentationPipeline
from lightning_tl.augment.random_brightness import RandomBrightness
from lightning_tl.augment.random_contrast import RandomContrast
from lightning_tl.augment.random_flip import RandomFlip
from lightning_tl.augment.random_rotation import RandomRotation
from lightning_tl.augment.random_translation import RandomTranslation
from lightning_tl.augment.random_zoom import RandomZoom
from lightning_tl.augment.registry import TRANSFORMS, from_config
from lightning_tl.augment.resample import resample

__all__ = [
    "TRANSFORMS",
    "Augmentation",
    "AugmentationPipeline",
    "ColorJitter",
    "Geometric",
    "Params",
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "augmentation_grid",
    "augmented_samples",
    "from_config",
    "lay_out",
    "resample",
    "save_grid",
]
