"""Claim 13: which pixels image files hold, decoded and resized."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lightning_tl.data import decode
from parity_tests.claim import assets, claim
from parity_tests.compare import absolute
from parity_tests.processes import Arrays, KerasProcess, session_folder

SIZES = [(160, 160), (96, 128), (225, 224), (24, 17)]
MODES: dict[str, dict[str, bool]] = {
    "stretch": {},
    "crop": {"crop_to_aspect_ratio": True},
    "pad": {"pad_to_aspect_ratio": True},
}
SHAPES = [(375, 500), (500, 375), (227, 227), (33, 100), (5, 3), (160, 160), (61, 487), (1200, 900)]


@cache
def photographs() -> Path:
    """PNGs of waves with noise, of many shapes."""
    root = session_folder() / "png" / "any"
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    random = [(int(height), int(width)) for height, width in rng.integers(64, 400, (12, 2))]
    for number, (height, width) in enumerate([*SHAPES, *random]):
        Image.fromarray(_picture(rng, height, width)).save(root / f"{number:02d}.png", compress_level=1)
    return root.parent


@cache
def jpegs() -> Path:
    """JPEGs of every subsampling at several qualities, progressive and grey ones, sizes that do not divide by 16."""
    root = session_folder() / "jpeg" / "any"
    root.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for quality in (50, 75, 95):
        for subsampling in (0, 1, 2):
            picture = Image.fromarray(_picture(rng, 149, 203))
            name = f"{quality}-{subsampling}"
            picture.save(root / f"{name}.jpg", quality=quality, subsampling=subsampling)
            picture.save(root / f"{name}p.jpg", quality=quality, subsampling=subsampling, progressive=True)
    Image.fromarray(_picture(rng, 149, 203)).convert("L").save(root / "grey.jpg", quality=90)
    return root.parent


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Waves with noise, each channel its own: uint8 (height, width, 3)."""
    y, x = np.linspace(0, 12.6, height)[:, None, None], np.linspace(0, 12.6, width)[None, :, None]
    smooth = 127.5 + 50.0 * np.sin(x + np.arange(3)) + 50.0 * np.cos(1.3 * y - 2.0 * np.arange(3))
    return np.asarray((smooth + rng.normal(0, 15, smooth.shape)).clip(0, 255), dtype=np.uint8)


@cache
def few_flowers() -> Path:
    """Forty of the real photographs, side by side in one class.

    Raises:
        Skipped: there are no assets.
    """
    found = sorted(assets().resolve().joinpath("data/flowers").rglob("*.jpg"))
    root = session_folder() / "flowers" / "any"
    root.mkdir(parents=True)
    for path in found[:: len(found) // 40]:
        (root / path.name).symlink_to(path)
    return root.parent


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@claim(
    "resize-png",
    13,
    "Pixels of PNGs of twenty shapes at four sizes, by image_dataset_from_directory: largest difference on "
    "[0, 255] of our integers from Keras' floats, by mode.",
    dtypes=("float32",),
    backends=("tensorflow",),
)
def resize_by_keras(theirs: KerasProcess) -> dict[str, float]:
    errors = {}
    for mode, arguments in MODES.items():
        loads = [[f"{size}", {"image_size": size, **arguments}] for size in SIZES]
        expected = theirs.call("data.loaded", {"root": str(photographs()), "loads": loads})
        errors[mode] = max(pixel_error(photographs(), expected, f"{size}", size, mode) for size in SIZES)
    return errors


def pixel_error(root: Path, expected: Arrays, name: str, size: tuple[int, int] | None, mode: str = "stretch") -> float:
    """Largest difference over a folder's images; without a size they are decoded alone."""
    worst = 0.0
    for number, path in enumerate(files(root)):
        image = decode.decode_image(path)
        if size is not None:
            image = decode.resize_image(image, size, mode)  # type: ignore[arg-type]
        worst = max(worst, absolute(image.permute(1, 2, 0).numpy(), expected[f"{name}/{number}"]))
    return worst


@claim(
    "resize-ops",
    13,
    "keras.ops.image.resize (bilinear, no antialias) of the backend on whole pictures: largest difference on "
    "[0, 255] of our integers from its floats.",
    dtypes=("float32",),
)
def resize_by_ops(theirs: KerasProcess) -> float:
    images = {path.stem: np.asarray(Image.open(path)) for path in files(photographs())[:6]}
    expected = theirs.call("data.resized_by_ops", {"sizes": SIZES}, **images)
    return max(
        pixel_error_of(image, expected[f"{name}/{size[0]}x{size[1]}"], size)
        for name, image in images.items()
        for size in SIZES
    )


def pixel_error_of(image: np.ndarray, expected: np.ndarray, size: tuple[int, int]) -> float:
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    return absolute(decode.resize_image(tensor, size).permute(1, 2, 0).numpy(), expected)


JPEG = "largest difference on [0, 255] from tf.image, as Keras calls it and with its exact inverse transform."


def jpeg_errors(theirs: KerasProcess, root: Path) -> dict[str, float]:
    errors = {}
    for kind, method in {"as Keras": "", "INTEGER_ACCURATE": "INTEGER_ACCURATE"}.items():
        expected = theirs.call("data.decoded_by_tensorflow", {"root": str(root), "dct_method": method})
        errors[kind] = pixel_error(root, expected, "image", None)
    return errors


@claim(
    "decode-jpeg",
    13,
    f"JPEGs of every subsampling and several qualities, also progressive: {JPEG}",
    dtypes=("float32",),
    backends=("tensorflow",),
)
def jpeg(theirs: KerasProcess) -> dict[str, float]:
    return jpeg_errors(theirs, jpegs())


@claim("decode-jpeg-flowers", 13, f"Forty photographs: {JPEG}", dtypes=("float32",), backends=("tensorflow",))
def jpeg_of_flowers(theirs: KerasProcess) -> dict[str, float]:
    return jpeg_errors(theirs, few_flowers())


@claim(
    "load-jpeg-flowers",
    13,
    "Photographs by image_dataset_from_directory at 160 px: largest difference on [0, 255], and the mean one.",
    dtypes=("float32",),
    backends=("tensorflow",),
)
def loaded_flowers(theirs: KerasProcess) -> dict[str, float]:
    root, size = few_flowers(), (160, 160)
    options = {"root": str(root), "loads": [["pixels", {"image_size": size}]]}
    expected = theirs.call("data.loaded", options)
    return {
        "largest": pixel_error(root, expected, "pixels", size),
        "mean": mean_error(root, expected, "pixels", size),
    }


def mean_error(root: Path, expected: Arrays, name: str, size: tuple[int, int]) -> float:
    images = [decode.resize_image(decode.decode_image(path), size) for path in files(root)]
    differences = [image.permute(1, 2, 0).numpy() - expected[f"{name}/{n}"] for n, image in enumerate(images)]
    return float(np.abs(differences).mean())


@claim(
    "pixels-keras_ref",
    13,
    "The reference's decoder and resizing on the same files: largest difference on [0, 255].",
    dtypes=("float32",),
    backends=("torch",),
)
def pixels_of_reference(theirs: KerasProcess) -> dict[str, float]:
    errors = {}
    for name, root in {"PNG": photographs(), "JPEG": jpegs()}.items():
        loads = [["own size", None, "stretch", False]]
        loads += [[f"{mode} {size}", size, mode, False] for mode in MODES for size in SIZES[:2]]  # type: ignore[list-item]
        expected = theirs.call("data.decoded_by_reference", {"root": str(root), "loads": loads})
        errors[name] = max(
            pixel_error(root, expected, str(load), size, str(mode))  # type: ignore[arg-type]
            for load, size, mode, _ in loads
        )
    return errors
