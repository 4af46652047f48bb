"""From an image file to uint8 RGB, and from any size to the one the model takes.

differs: Pillow and NumPy, where lightning_tl has torchvision and torch. Pixels of JPEGs are the same as long
as both libraries carry the same libjpeg-turbo.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from keras_ref.errors import InputError

MAX_PIXELS = 2**28
"""Largest declared height x width that is decoded: room for 200-megapixel cameras, 0.8 GB as uint8 RGB."""

RESIZE_MODES = ("stretch", "crop", "pad")

Pixels = NDArray[np.uint8]
"""RGB in [0, 255], shape (height, width, 3). differs: channels last, Keras' own layout."""

_PILLOW: dict[bytes, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    # The classes themselves: `Image.open` has a limit of its own and warns below ours.
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"GIF87a": GifImageFile,
    b"GIF89a": GifImageFile,
    b"BM": BmpImageFile,
}


def decode_image(path: str | Path) -> Pixels:
    """Decode an image file to RGB.

    The format follows from the file's contents, not its name. EXIF orientation is applied. Grey, CMYK and
    palette images become RGB, alpha is dropped, of 16 bits the upper 8 are kept, of an animation the first
    frame.

    Args:
        path: of a JPEG, PNG, WebP, GIF or BMP file.

    Returns:
        uint8 in [0, 255], shape (height, width, 3).

    Raises:
        InputError: the file cannot be read or decoded, or declares more than ``MAX_PIXELS`` pixels.
    """
    try:
        return _decode(Path(path).read_bytes())
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error on broken files
        raise InputError(
            f"{os.fspath(path)!r} cannot be decoded as an image: {_reason(error)}. "
            "Replace or remove the file, or set data.on_bad_image to skip."
        ) from error


def why_undecodable(path: str | Path) -> str | None:
    """Why ``decode_image`` refuses a file, in a few words without its name; None if it decodes."""
    try:
        decode_image(path)
    except InputError as error:
        return _reason(error.__cause__ or error)
    return None


def resize_image(image: Pixels, size: tuple[int, int], mode: str = "stretch", antialias: bool = False) -> Pixels:
    """Resize as ``keras.utils.image_dataset_from_directory`` does, then round to the nearest integer.

    Bilinear with half-pixel centres. ``stretch`` ignores the aspect ratio (Keras' default), ``crop`` first
    takes the largest centred part of the target's aspect ratio (``crop_to_aspect_ratio``), ``pad`` resizes
    to fit and fills the rest with zeros (``pad_to_aspect_ratio``).

    Args:
        image: uint8, shape (any height, any width, 3).
        size: (height, width) of the result in pixels.
        mode: stretch, crop or pad.
        antialias: average over all pixels an output pixel covers when making an image smaller; Keras does
            not.

    Returns:
        uint8 in [0, 255], shape (*size, 3).
    """
    if mode == "crop":
        image = _centre_crop(image, size)
    inner, (top, left) = _fit(image.shape[:2], size) if mode == "pad" else (size, (0, 0))
    resized = np.rint(_interpolate(image, inner, antialias)).clip(0, 255).astype(np.uint8)
    if inner == size:
        return resized
    padded = np.zeros((*size, 3), np.uint8)
    padded[top : top + inner[0], left : left + inner[1]] = resized
    return padded


def _decode(data: bytes) -> Pixels:
    """Raw bytes to uint8 RGB. Raises whatever the decoder raises."""
    file = _opened(data)
    if file.height * file.width > MAX_PIXELS:
        raise ValueError(f"it declares {file.width} x {file.height} pixels, more than {MAX_PIXELS}")
    _turn_upright(file)
    if file.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut at 255
        grey = (np.asarray(file).astype(np.int32) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(file.convert("RGB"))


def _turn_upright(file: ImageFile.ImageFile) -> None:
    """Decode, and apply EXIF's orientation. Where that makes no sense the image stays as it is."""
    file.load()
    try:
        ImageOps.exif_transpose(file, in_place=True)
    except MemoryError:
        raise
    except Exception:  # Pillow raises anything from SyntaxError to struct.error on broken EXIF
        return


def _opened(data: bytes) -> ImageFile.ImageFile:
    """The file opened, not yet decoded."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImageFile(io.BytesIO(data))
    for start, opener in _PILLOW.items():
        if data.startswith(start):
            return opener(io.BytesIO(data))
    raise ValueError("its contents are no JPEG, PNG, WebP, GIF or BMP" if data else "it is empty")


def _reason(error: BaseException) -> str:
    """The decoder's message in one line."""
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")


def _centre_crop(image: Pixels, size: tuple[int, int]) -> Pixels:
    """The largest centred part with the aspect ratio of ``size`` (keras' ``smart_resize``)."""
    height, width = image.shape[:2]
    crop_height = max(min(height, int(np.float32(width * size[0]) / np.float32(size[1]))), 1)
    crop_width = max(min(width, int(np.float32(height * size[1]) / np.float32(size[0]))), 1)
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return image[top : top + crop_height, left : left + crop_width]


def _fit(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size and top-left corner of the image inside ``size`` (tf.image.resize_with_pad).

    In float32 as there, since the rounding decides whether a side is one pixel shorter; never less than a
    pixel.
    """
    sides, targets = np.array(shape, np.float32), np.array(size, np.float32)
    exact = sides / np.max(sides / targets)
    inner = np.maximum(np.floor(exact), 1).astype(int)
    corner = np.minimum(np.maximum(np.floor((targets - exact) / np.float32(2)), 0).astype(int), size - inner)
    return (int(inner[0]), int(inner[1])), (int(corner[0]), int(corner[1]))


def _interpolate(image: Pixels, size: tuple[int, int], antialias: bool) -> NDArray[np.float32]:
    """Bilinear, half-pixel centres: uint8 (H, W, 3) to float32 (*size, 3), not rounded."""
    if antialias:  # Pillow's own resampling of float32 images, which torch's antialias=True follows
        bands = (Image.fromarray(image[..., band].astype(np.float32)) for band in range(3))
        return np.stack([np.asarray(band.resize(size[::-1], Image.Resampling.BILINEAR)) for band in bands], axis=-1)
    rows, other_rows, down = _taps(image.shape[0], size[0])
    near, far = (_across(image.take(taps, axis=0), size[1]) for taps in (rows, other_rows))
    return _lerp(near, far, down[:, None, None])


def _across(rows: Pixels, width: int) -> NDArray[np.float32]:
    """Interpolate along rows: uint8 (h, W, 3) to float32 (h, width, 3)."""
    columns, other_columns, across = _taps(rows.shape[1], width)
    near, far = (rows.take(taps, axis=1).astype(np.float32) for taps in (columns, other_columns))
    return _lerp(near, far, across[:, None])


def _lerp(near: NDArray[np.float32], far: NDArray[np.float32], weight: NDArray[np.float64]) -> NDArray[np.float32]:
    """``near + weight (far - near)``, rounded to float32 once: the fused multiply-add of torch.lerp."""
    return (near + weight * (far - near)).astype(np.float32)


def _taps(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each output position the nearer pixel, the farther one, and the weight of the farther, at most 0.5.

    Positions in float32, step by step as TensorFlow computes them (resize_bilinear_op, half_pixel_centers),
    so that large images agree too. Beginning at the nearer pixel is what torch.lerp does.
    """
    scale = np.float32(source) / np.float32(target)
    position = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    floor = np.floor(position)
    first, second = np.maximum(floor, 0).astype(np.int64), np.minimum(floor + 1, source - 1).astype(np.int64)
    weight = (position - floor).astype(np.float64)
    near = weight < 0.5
    return np.where(near, first, second), np.where(near, second, first), np.where(near, weight, 1 - weight)
