"""Finding images: root/<class>/* or root/{train,val[,test]}/<class>/*."""

import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from keras_ref.errors import InputError

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".webp")
"""File names taken for images, in any case: those of Keras, WebP, and the third name of JPEG files."""
OTHER_EXTENSIONS = (".avif", ".heic", ".heif", ".jp2", ".tif", ".tiff")
"""Those of images that are not read: people are told of them."""

LISTED = 5
"""Names in a message; of more it says how many."""

SPLITS = ("train", "val", "test")
SPLIT_OF = {
    **{split: split for split in SPLITS},
    "training": "train", "valid": "val", "validation": "val", "testing": "test",
}  # fmt: skip
"""The split that a folder of such a name, in any case, is meant to be."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a data set.

    Attributes:
        split: train, val or test.
        path: relative to the root, with ``/`` between folders.
        label: class name.
    """

    split: str
    path: str
    label: str


def scan(root: str | Path) -> tuple[Sample, ...]:
    """All images under root, sorted by split and path; classes are folders with all that is below them.

    With folders root/train and root/val (and root/test if you like), each of them is a split; otherwise every
    sample is in split train, to be divided by ``keras_ref.data.split``. Hidden files and folders are left
    out.

    Raises:
        InputError: no such folder, no classes, one class, a class without images, splits of unlike classes, or a
            folder that cannot be read.
    """
    folder = check_root(root)
    names = subfolders(folder)
    if not has_split_folders(folder):
        return _classes(folder, names, "train", folder)
    if strangers := sorted(set(names) - set(SPLITS)):
        raise InputError(
            f"data.root {str(folder)!r} has the folders train and val, and beside them {listed(strangers)}. "
            "Keep train, val and test alone there, or give a root that holds one folder per class."
        )
    found = {split: _split_folder(folder, split) for split in SPLITS if split in names}
    _check_same_classes(folder, found)
    return tuple(sample for samples in found.values() for sample in samples)


def has_split_folders(root: Path) -> bool:
    """Whether root is divided into train and val by its folders.

    Raises:
        InputError: there is a folder train beside nothing but test, or beside valid or validation, or folders like
            Training that hold folders alone: a division that we do not know, and no list of classes.
    """
    names = set(subfolders(root))
    if "train" in names and names <= {*SPLITS, "valid", "validation"} and "val" not in names:
        others = listed(sorted(names - {"train"})) if len(names) > 1 else "nothing"
        raise InputError(
            f"data.root {str(root)!r} has the folder train and beside it {others}, but no val. Name the "
            "validation folder val, or give the folder that holds one folder per class as data.root."
        )
    divided = {"train", "val"} <= names
    if not divided:
        _refuse_other_splits(root, names)
    return divided


def _refuse_other_splits(root: Path, names: Iterable[str]) -> None:
    """Raise InputError for folders among ``names`` that are called like splits and hold folders, but no image."""
    alike = sorted(name for name in names if name.lower() in SPLIT_OF and _holds_folders_alone(root / name))
    if not alike:
        return
    renamed = ", ".join(f"{name!r} to {SPLIT_OF[name.lower()]}" for name in alike if name not in SPLITS)
    raise InputError(
        f"data.root {str(root)!r} has folders that are named like splits and hold folders, not images: "
        f"{listed(alike)}. {f'Rename {renamed}. ' * bool(renamed)}"
        "A root that is divided has train and val, and test if you like, and nothing else; otherwise give the folder "
        "that holds one folder per class as data.root. A class of such a name needs its images directly in its folder."
    )


def _holds_folders_alone(folder: Path) -> bool:
    """Whether there are folders in it, and no image beside them."""
    images = (entry for entry in folder.iterdir() if entry.name.lower().endswith(IMAGE_EXTENSIONS))
    return bool(subfolders(folder)) and not any(entry.is_file() and not entry.name.startswith(".") for entry in images)


def check_root(root: str | Path) -> Path:
    """Root as a Path. Raises InputError if it is not a folder, or nobody may look."""
    path = Path(root)
    try:
        if path.is_dir():
            return path
        received = "is a file" if path.exists() else "does not exist"
    except OSError as error:  # a name that is too long, a folder that nobody may look into
        raise InputError(f"data.root {str(path)!r} cannot be read: {error.strerror}.") from error
    raise InputError(f"data.root {str(path)!r} {received}. Give a folder that holds one folder of images per class.")


def check_classes(root: Path, counts: dict[str, int]) -> None:
    """Check images per class. Raises InputError for no class, one class, or classes without images."""
    where = f"{str(root)!r} has"
    if not counts:
        raise InputError(f"{where} no class folders. Put the images of each class into a folder named after it.")
    if empty := [name for name, count in counts.items() if not count]:
        raise InputError(
            f"{where} class folders without an image: {listed(empty)}. Remove them or add images "
            f"({', '.join(IMAGE_EXTENSIONS)})."
        )
    if len(counts) == 1:
        raise InputError(f"{where} a single class, {next(iter(counts))!r}; classification needs at least two.")


def _classes(folder: Path, names: list[str], split: str, root: Path) -> tuple[Sample, ...]:
    """Samples of the class folders ``names`` in ``folder``, paths relative to ``root``, sorted."""
    others: list[str] = []
    images = {name: list(_images(folder / name, root, others)) for name in names}
    _tell(root, others)
    check_classes(folder, {name: len(paths) for name, paths in images.items()})
    samples = (Sample(split, path, name) for name, paths in images.items() for path in paths)
    return tuple(sorted(samples, key=lambda sample: sample.path))


def _split_folder(root: Path, split: str) -> tuple[Sample, ...]:
    folder = root / split
    return _classes(folder, subfolders(folder), split, root)


def _check_same_classes(root: Path, found: dict[str, tuple[Sample, ...]]) -> None:
    """Every split must have the classes of train."""
    classes = {split: {sample.label for sample in samples} for split, samples in found.items()}
    for split in classes:
        missing, extra = classes["train"] - classes[split], classes[split] - classes["train"]
        if missing or extra:
            parts = [f"lacks {listed(sorted(missing))}"] * bool(missing)
            parts += [f"also has {listed(sorted(extra))}"] * bool(extra)
            raise InputError(
                f"data.root {str(root)!r}: the classes of {split} differ from those of train: {split} "
                f"{' and '.join(parts)}. Give every split the same class folders."
            )


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in ``folder`` that are not hidden, sorted as Keras sorts classes.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        refuse_unlisted(error)


def refuse_unlisted(error: OSError) -> NoReturn:
    """Raise InputError for a folder that cannot be listed: nobody would miss its images. For ``os.walk`` too."""
    raise InputError(
        f"data.root: the folder {str(error.filename)!r} cannot be read: {error.strerror}. Let it be read, or take it "
        "out of the root."
    ) from error


def _images(folder: Path, root: Path, others: list[str]) -> Iterator[str]:
    """Images at any depth below ``folder``, from ``root`` on, in no order; ``others`` gets those that are not read."""
    for path in _files(folder):
        name = path.name.lower()
        if name.endswith(IMAGE_EXTENSIONS):
            _refuse_pipe(path)
            yield path.relative_to(root).as_posix()
        elif name.endswith(OTHER_EXTENSIONS):
            others.append(path.relative_to(root).as_posix())


def _tell(root: Path, others: Sequence[str]) -> None:
    """Warn of images that are not read, if there are any."""
    if others:
        said = "1 image is" if len(others) == 1 else f"{len(others)} images are"
        warnings.warn(
            f"data.root {str(root)!r}: {said} left out, in a format that is not read: {listed(sorted(others))}. "
            "Save them as JPEG or PNG to have them in.",
            stacklevel=2,
        )


def _files(folder: Path) -> Iterator[Path]:
    """Files at any depth below ``folder``, but for hidden ones and those in hidden folders."""
    for parent, names, files in os.walk(folder, onerror=refuse_unlisted):
        names[:] = (name for name in names if not name.startswith("."))
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _refuse_pipe(path: Path) -> None:
    """Raise InputError for pipes, sockets and devices, which may never end. A link to nowhere is a bad image."""
    with suppress(OSError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"data.root: {str(path)!r} is no file that can be read whole. Take it out of the root.")


def listed(names: Iterable[str]) -> str:
    """The first names in quotes, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(repr(name) for name in names[:LISTED]) + more
