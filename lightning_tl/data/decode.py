"""From an image file to uint8 RGB, and from any size to the one the model takes."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor
from torchvision import io as vision_io

from lightning_tl.data.budget import Budget
from lightning_tl.data.header import (
    MAX_SCANS,
    Size,
    exif_first,
    image_format,
    jpeg_scans,
    jpeg_size,
    png_size,
    webp_size,
)
from lightning_tl.errors import InputError

MAX_PIXELS = 2**28
"""Largest declared height x width that is decoded: room for 200-megapixel cameras, 0.8 GB as uint8 RGB."""
CHANNELS = 3
_TOGETHER = Budget(2 * MAX_PIXELS)
"""Pixels that the threads of a process decode at once; of most formats a pixel takes 3 to 11 bytes meanwhile."""

ResizeMode = Literal["stretch", "crop", "pad"]
RESIZE_MODES: tuple[ResizeMode, ...] = ("stretch", "crop", "pad")

_DECLARED_SIZE: dict[str, Callable[[bytes], Size | None]] = {"jpeg": jpeg_size, "png": png_size, "webp": webp_size}
_PILLOW: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    # The classes themselves: `Image.open` has a limit of its own and warns below ours.
    "bmp": BmpImageFile,
    "gif": GifImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
}


def decode_image(path: str | Path) -> Tensor:
    """Decode an image file to RGB.

    The format follows from the file's contents, not its name. JPEG goes through torchvision, the rest through
    Pillow (torchvision 0.29 has no BMP, ignores a WebP's EXIF orientation, decodes every frame of a GIF, and
    its PNG decoder ends the process with a segmentation fault on a flipped bit). EXIF orientation is applied.
    Grey, CMYK and palette images become RGB, alpha is dropped, of 16 bits the upper 8 are kept (as TensorFlow
    does), of an animation the first frame.

    Args:
        path: of a JPEG, PNG, WebP, GIF or BMP file.

    Returns:
        uint8 in [0, 255], shape (3, height, width).

    Raises:
        InputError: the file cannot be read or decoded, declares more than ``MAX_PIXELS`` pixels or has more
            than ``MAX_SCANS`` scans, or there is no memory for it.
    """
    try:
        return _decode(np.fromfile(path, dtype=np.uint8))
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error on broken files
        raise InputError(
            f"{os.fspath(path)!r} cannot be decoded as an image: {reason(error)}. "
            "Replace or remove the file, or set data.on_bad_image to skip."
        ) from error


def why_undecodable(path: str | Path, use: Callable[[Tensor], None] | None = None) -> str | None:
    """Why ``decode_image`` refuses a file, in a few words without its name; None if it decodes.

    ``use`` is given the image, uint8 (3, height, width), that it decodes to.
    """
    try:
        image = decode_image(path)
    except InputError as error:
        return reason(error.__cause__ or error)
    if use is not None:
        use(image)
    return None


def resize_image(image: Tensor, size: tuple[int, int], mode: ResizeMode = "stretch", antialias: bool = False) -> Tensor:
    """Resize as ``keras.utils.image_dataset_from_directory`` does, then round to the nearest integer.

    Bilinear with half-pixel centres. ``stretch`` ignores the aspect ratio (Keras' default), ``crop`` first
    takes the largest centred part of the target's aspect ratio (``crop_to_aspect_ratio``), ``pad`` resizes to
    fit and fills the rest with zeros (``pad_to_aspect_ratio``).

    Args:
        image: uint8, shape (3, any height, any width).
        size: (height, width) of the result in pixels.
        mode: stretch, crop or pad.
        antialias: average over all pixels an output pixel covers when making an image smaller; Keras does
            not.

    Returns:
        uint8 in [0, 255], shape (3, *size).

    Raises:
        InputError: unknown mode.
    """
    if mode not in RESIZE_MODES:
        raise InputError(f"resize must be one of {', '.join(RESIZE_MODES)}. Received: {mode!r}.")
    if mode == "crop":
        image = _centre_crop(image, size)
    inner, (top, left) = _fit(image.shape[1:], size) if mode == "pad" else (size, (0, 0))
    resized = _interpolate(image, inner, antialias).round_().clamp_(0, 255).to(torch.uint8).contiguous()
    if inner == size:
        return resized
    padding = (left, size[1] - inner[1] - left, top, size[0] - inner[0] - top)
    return F.pad(resized, padding)


def _decode(data: np.ndarray) -> Tensor:
    """Raw bytes, uint8 of shape (bytes,), to uint8 RGB. Raises whatever the decoder raises."""
    kind = image_format(data[:16].tobytes())
    if kind is None:
        raise ValueError("its contents are no JPEG, PNG, WebP, GIF or BMP" if data.size else "it is empty")
    encoded = data.tobytes()
    size = None
    if kind in _DECLARED_SIZE:
        size = _checked(_DECLARED_SIZE[kind](encoded))
    if kind == "jpeg" and (scans := jpeg_scans(encoded)) > MAX_SCANS:
        raise ValueError(f"it has {scans} scans, more than {MAX_SCANS}")
    file = _PILLOW[kind](io.BytesIO(encoded)) if kind in _PILLOW else None
    size = size or _checked(None if file is None else Size(file.height, file.width))
    with _TOGETHER.hold(size.height * size.width):
        if file is not None:
            return pillow_to_rgb(file)
        if (turned := exif_first(encoded)) is not encoded:
            data = np.frombuffer(bytearray(turned), np.uint8)
        image: Tensor = vision_io.decode_image(torch.from_numpy(data), mode="RGB", apply_exif_orientation=True)
        return image


def pillow_to_rgb(image: Image.Image) -> Tensor:
    """An image of Pillow's, decoded or not, as ``decode_image`` gives it: uint8 (3, height, width).

    It is turned upright itself, without a copy. Of an animation the first frame is taken, of 16 bits of grey the
    upper 8. Raises whatever Pillow's decoder raises.
    """
    _turn_upright(image)
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut at 255
        grey = torch.from_numpy((np.asarray(image) >> 8).astype(np.uint8))
        return grey.expand(3, *grey.shape).contiguous()
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


def _turn_upright(image: Image.Image) -> None:
    """Decode, and apply EXIF's orientation. Where that makes no sense the image stays as it is, as a JPEG does."""
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # Pillow raises anything from SyntaxError to struct.error on broken EXIF
        return


def _checked(size: Size | None) -> Size:
    """``size``, or ValueError before any memory is taken for an image of more than MAX_PIXELS."""
    if size is None:
        raise ValueError("it is truncated: no image size in its header")
    if size.height * size.width > MAX_PIXELS:
        raise ValueError(f"it declares {size.width} x {size.height} pixels, more than {MAX_PIXELS}")
    return size


def reason(error: BaseException) -> str:
    """The decoder's message in one line, without the C++ source location torchvision puts before it."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "there is not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines() or [type(error).__name__]
    _, location, message = lines[0].rpartition(".cpp:")
    return (message.partition(", ")[2] if location else lines[0]).rstrip(". ")


def _centre_crop(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The largest centred part with the aspect ratio of ``size`` (smart_resize in keras.src.utils)."""
    height, width = image.shape[1:]
    crop_height = max(min(height, int(np.float32(width * size[0]) / np.float32(size[1]))), 1)
    crop_width = max(min(width, int(np.float32(height * size[1]) / np.float32(size[0]))), 1)
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return image[:, top : top + crop_height, left : left + crop_width]


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


def _interpolate(image: Tensor, size: tuple[int, int], antialias: bool) -> Tensor:
    """Bilinear, half-pixel centres: uint8 (3, H, W) to float32 (3, *size), not rounded."""
    if antialias:  # one channel at a time: a float copy of a large photograph takes gigabytes
        channels = (F.interpolate(c[None, None].float(), size, mode="bilinear", antialias=True) for c in image)
        return torch.cat([channel[0] for channel in channels])
    (top, bottom, down), (left, right, across) = (_taps(*pair) for pair in zip(image.shape[1:], size, strict=True))
    needed, place = np.unique(np.concatenate((top, bottom)), return_inverse=True)
    # As decoders leave them, a pixel's channels together: a row is then copied as a whole.
    rows = image.permute(1, 2, 0).numpy()[needed].reshape(len(needed), -1)
    between = torch.lerp(_columns(rows, left), _columns(rows, right), torch.from_numpy(across.repeat(CHANNELS)))
    above, below = (between.index_select(0, torch.from_numpy(part)) for part in np.split(place, 2))
    return torch.lerp(above, below, torch.from_numpy(down)[:, None]).view(*size, CHANNELS).permute(2, 0, 1)


def _columns(rows: NDArray[np.uint8], columns: NDArray[np.int64]) -> Tensor:
    """Pixels of each row, (rows, W * 3): float32 (rows, columns * 3). NumPy's ``take`` outruns torch's indexing."""
    values = (columns[:, None] * CHANNELS + np.arange(CHANNELS)).ravel()
    return torch.from_numpy(rows.take(values, axis=1)).float()


def _taps(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The two pixels that each output position lies between, and the weight of the second.

    Positions in float32, step by step as TensorFlow computes them (resize_bilinear_op, half_pixel_centers),
    so that large images agree too. Reading only these pixels spares a float copy of the whole image.
    """
    scale = np.float32(source) / np.float32(target)
    position = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    first = np.floor(position)
    return np.maximum(first, 0).astype(np.int64), np.minimum(first + 1, source - 1).astype(np.int64), position - first
