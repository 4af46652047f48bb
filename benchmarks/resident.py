"""Images in memory: decoded once, the same bytes for every framework."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.settings import Settings

ENDINGS = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Images:
    """Decoded images.

    Attributes:
        pixels: uint8 RGB, (images, height, width, 3).
        labels: int64, (images,).
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def batch(self, number: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The ``number``-th batch of ``size`` images; after the last comes the first again."""
        start = number % max(1, len(self.labels) // size) * size
        return self.pixels[start : start + size], self.labels[start : start + size]


def find_classes(root: Path) -> list[str]:
    """Names of the class folders, sorted.

    Raises:
        ValueError: fewer than two.
    """
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if len(names) < 2:
        raise ValueError(f"--data: a folder with one folder of images a class is needed. Received: {root}.")
    return names


def decode_folder(root: Path, target: Path, settings: Settings, repeat: bool = False) -> None:
    """Decode as many images as ``settings`` asks for into ``target``: train and val, shuffled by the seed.

    Args:
        root: folder of class folders.
        target: where train.npz and val.npz go.
        settings: of the run.
        repeat: take images more than once where there are too few.

    Raises:
        ValueError: there are too few images.
    """
    classes = find_classes(root)
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((root / name).iterdir())
        if path.suffix.lower() in ENDINGS
    ]
    train = settings.batches * settings.batch_size
    needed = train + settings.val_images
    if len(files) < needed and not repeat:
        raise ValueError(f"--data: {needed} images of equal classes are needed. Received: {len(files)}.")
    order = np.resize(np.random.default_rng(settings.seed).permutation(len(files)), needed)
    pixels = np.stack([_decode(files[i][0], settings.image_size) for i in order])
    labels = np.array([files[i][1] for i in order], np.int64)
    for name, part in (("train", slice(train)), ("val", slice(train, None))):
        save_images(target, name, Images(pixels[part], labels[part]))


def save_images(folder: Path, part: str, images: Images) -> None:
    """Write what ``load_images`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{part}.npz", pixels=images.pixels, labels=images.labels)


def load_images(folder: Path, part: str) -> Images:
    """What ``decode_folder`` wrote; ``part`` is train or val."""
    with np.load(folder / f"{part}.npz") as file:
        return Images(file["pixels"], file["labels"])


def _decode(path: Path, side: int) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
