"""Images: finding, dividing, checking, decoding, resizing, and dealing them out in batches."""

from lightning_tl.data.check import BadImage, find_bad_images
from lightning_tl.data.dataset import UNKNOWN_LABEL, ImageDataset, Item
from lightning_tl.data.decode import MAX_PIXELS, decode_image, resize_image
from lightning_tl.data.folder import IMAGE_EXTENSIONS, SPLITS, Sample, list_images, scan
from lightning_tl.data.module import ImageFolderDataModule
from lightning_tl.data.sampler import EpochSampler
from lightning_tl.data.split import keras_split, stratified_split
from lightning_tl.data.split_file import read_split, write_split

__all__ = [
    "IMAGE_EXTENSIONS",
    "MAX_PIXELS",
    "SPLITS",
    "UNKNOWN_LABEL",
    "BadImage",
    "EpochSampler",
    "ImageDataset",
    "ImageFolderDataModule",
    "Item",
    "Sample",
    "decode_image",
    "find_bad_images",
    "keras_split",
    "list_images",
    "read_split",
    "resize_image",
    "scan",
    "stratified_split",
    "write_split",
]
