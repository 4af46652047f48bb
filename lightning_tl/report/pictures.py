"""Pictures for the page: those the run has left behind, else the originals made small."""

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from PIL import Image, ImageOps

from lightning_tl.files import at_home
from lightning_tl.report.run import Run

SIDE = 112
"""Pixels of a thumbnail's longer side."""
QUALITY = 74
"""Of JPEG, Pillow's scale."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
"""Those that the package trains on; no other decoder is given a file."""
MAX_PIXELS = 2**28
"""As lightning_tl.data.decode: larger originals stay unread."""
GRID_SIDE = 1400
"""Pixels of the longer side of the grid of augmented samples."""


@dataclass(frozen=True)
class Grid:
    """The run's picture of augmented training samples.

    Attributes:
        jpeg: the picture.
        size: (width, height) in pixels.
        rows: class of each row's sample, or its number where split.csv does not say.
        columns: what each column shows.
    """

    jpeg: bytes
    size: tuple[int, int]
    rows: tuple[str, ...]
    columns: tuple[str, ...]


class Pictures:
    """Where to find pictures of a run's images.

    Args:
        run: whose.

    Attributes:
        root: folder of the original images; None where it is not known or not there.
        explained: whether the run has left Grad-CAM overlays.
    """

    def __init__(self, run: Run) -> None:
        self.root = find_root(run)
        self._folder = run.folder / "pictures"
        self._manifest = _manifest(self._folder / "pictures.json")
        self.explained = bool(self._manifest.get("gradcam"))
        self._labels = [label for _, _, label in run.samples or ()]
        self._index = {(split, path): str(number) for number, (split, path, _) in enumerate(run.samples or ())}

    def thumbnail(self, split: str, path: str) -> bytes | None:
        """A small JPEG of an image; None where there is none to be had."""
        made = self._listed("images", split, path)
        if made is not None:
            return made
        original = None if self.root is None else below(self.root, path)
        return None if original is None else small_jpeg(original, SIDE)

    def gradcam(self, split: str, path: str) -> bytes | None:
        """The run's Grad-CAM overlay of an image as a small JPEG; None where it made none."""
        return self._listed("gradcam", split, path)

    def augmented(self) -> Grid | None:
        """The grid of augmented training samples; None where the run made none."""
        entry = self._manifest.get("augmented")
        if not isinstance(entry, dict):
            return None
        file = below(self._folder, str(entry.get("file", "")))
        jpeg = None if file is None else small_jpeg(file, GRID_SIDE)
        if jpeg is None:
            return None
        names = tuple(self._name(index) for index in _list(entry.get("rows")))
        columns = tuple(map(str, _list(entry.get("columns"))))
        with Image.open(io.BytesIO(jpeg)) as image:
            return Grid(jpeg, image.size, names, columns)

    def _listed(self, kind: str, split: str, path: str) -> bytes | None:
        files = self._manifest.get(kind)
        name = files.get(self._index.get((split, path), "")) if isinstance(files, dict) else None
        file = below(self._folder, name) if isinstance(name, str) else None
        return None if file is None else small_jpeg(file, SIDE)

    def _name(self, index: Any) -> str:
        known = isinstance(index, int) and 0 <= index < len(self._labels)
        return self._labels[index] if known else str(index)


def find_root(run: Run) -> Path | None:
    """The folder that the run's paths are relative to, if it can be found and holds one of its images.

    A relative ``data.root`` was meant from where ``fit`` ran: the working directory is tried, then each folder above
    the run folder.
    """
    root = run.data.get("root")
    if not isinstance(root, str) or not root or "\0" in root or run.data.get("dataset"):
        return None
    paths = [row.path for row in run.predictions[:20]]
    for base in (Path.cwd(), *run.folder.resolve().parents):
        folder = (base / at_home(root)).resolve()
        if any(is_file(below(folder, path)) for path in paths):
            return folder
    return None


def below(folder: Path, name: str) -> Path | None:
    """``folder / name``; None where the name would leave the folder or can be none."""
    parts = PurePosixPath(name)
    if not name or "\0" in name or ".." in PurePath(name).parts or parts.is_absolute() or PurePath(name).drive:
        return None
    return folder / name


def is_file(path: Path | None) -> bool:
    """Whether it is a file that can be reached."""
    try:
        return path is not None and path.is_file()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def small_jpeg(path: Path, side: int) -> bytes | None:
    """The image in ``path`` as an RGB JPEG of at most ``side`` pixels a side, upright; None if it is no image.

    Smaller ones keep their size. Metadata of the original (place, camera) is left behind.
    """
    picture = small_picture(path, side)
    if picture is None:
        return None
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def small_picture(path: Path, side: int) -> Image.Image | None:
    """The image in ``path`` in RGB, upright, of at most ``side`` pixels a side; None if it is no image."""
    if not is_file(path):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's advice about broken metadata and large images
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                image.draft("RGB", (2 * side, 2 * side))  # JPEG: decode no more than is needed
                upright = _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
            upright.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    except Exception:  # decoders raise anything from SyntaxError to struct.error on broken files
        return None
    return upright


def _eight_bits(image: Image.Image) -> Image.Image:
    """The upper 8 of 16 bits of grey, as training reads them; Pillow would cut them at 255."""
    if not image.mode.startswith("I"):
        return image
    import numpy as np  # most reports need it not

    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _manifest(path: Path) -> Mapping[str, Any]:
    """Contents of pictures.json; empty where it is missing or broken."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
