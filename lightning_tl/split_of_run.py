"""Which images a command on a checkpoint takes for trained on and which for held out: as its run did."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_tl.checkpoint import CheckpointInfo
from lightning_tl.data.folder import Sample, check_root, has_split_folders
from lightning_tl.data.module import ImageFolderDataModule
from lightning_tl.data.options import ALL, SPLIT_METHODS
from lightning_tl.data.split_file import read_split
from lightning_tl.errors import InputError, printable
from lightning_tl.files import at_home
from lightning_tl.runfolder import run_folder_of

FRACTIONS = ("val_fraction", "test_fraction")


def keep_split(checkpoint: CheckpointInfo, data: Any, default: str) -> bool:
    """Set ``data.split`` to the split.csv of the run, unless another split file or other images are asked for.

    Where all images are to be measured, it warns of those among them that the run was trained on.

    Args:
        checkpoint: of the run.
        data: the settings, of which ``split`` may be changed.
        default: of ``data.split`` where the command was not given one.

    Returns:
        Whether the run's split is kept.

    Raises:
        InputError: the run's images are to be divided by another method, or are there in part.
    """
    method, file = checkpoint.data.get("split"), run_folder_of(checkpoint.path) / "split.csv"
    if data.split == ALL and file.is_file() and (trained := _trained(checkpoint, file, data)):
        warnings.warn(
            f"data.split: all: the run was trained on {trained} of these images, and knows them. Leave it out to "
            "measure those that were held out.",
            stacklevel=2,
        )
    if not file.is_file() or not _is_meant(checkpoint, file, data, default):
        return False
    if method in SPLIT_METHODS and data.split in SPLIT_METHODS and data.split not in (method, default):
        raise InputError(
            f"data.split: the run has divided these images by {method} and keeps to that. Received: {data.split}; "
            "leave it out, or give a split file."
        )
    if data.split in (*SPLIT_METHODS, method):
        data.split = str(file)
    return bool(data.split == str(file))


def keep_fractions(checkpoint: CheckpointInfo, data: Any, defaults: Any) -> None:
    """Set the fractions to those that the run was divided by, which a config that is written then tells.

    Args:
        checkpoint: of the run, whose split is kept.
        data: the settings.
        defaults: those of a command that was given none.

    Raises:
        InputError: another fraction was asked for.
    """
    for name in FRACTIONS:
        known = checkpoint.data.get(name)
        if known is None:
            continue
        if data[name] not in (known, defaults[name]):
            raise InputError(
                f"data.{name}: the run has divided these images with {known} and keeps to that. Received: "
                f"{data[name]}; give {known}, or a split file as data.split."
            )
        data[name] = known


def require_held_out(checkpoint: CheckpointInfo, samples: Iterable[Sample]) -> None:
    """See that a run which goes on has trained on none of the images that are held out now.

    Args:
        checkpoint: of the run.
        samples: as they are divided now.

    Raises:
        InputError: it has; or its split.csv is none.
    """
    held_out = [sample for sample in samples if sample.split != "train"]
    if known := _known(checkpoint, held_out):
        raise InputError(
            f"data.split: the run was trained on {len(known)} of the {len(held_out)} images that would be held out "
            f"now, as {printable(known[0])!r}, and knows them. Resume it with its own images and division."
        )


def warn_of_trained(checkpoint: CheckpointInfo, data: ImageFolderDataModule, split: str) -> None:
    """Warn where images of the run's own root that are to be measured are ones that it was trained on.

    Args:
        checkpoint: of the run.
        data: the images.
        split: that is measured. Where all are, ``keep_split`` has warned.
    """
    run, options = checkpoint.data, data.options
    if options.split == ALL or options.dataset != run.get("dataset") or not same_path(options.root, run.get("root")):
        return
    measured = [sample for sample in data.samples if sample.split == split]
    if known := _known(checkpoint, measured):
        warnings.warn(
            f"data.split: the run was trained on {len(known)} of the {len(measured)} images that are measured, and "
            "knows them. Leave it out to measure those that were held out.",
            stacklevel=2,
        )


def _known(checkpoint: CheckpointInfo, samples: Iterable[Sample]) -> list[str]:
    """Those that the run was trained on, by path below the root; none where it has left no word of it."""
    file = run_folder_of(checkpoint.path) / "split.csv"
    if not file.is_file():
        return []
    trained = {sample.path for sample in read_split(file, root=None) if sample.split == "train"}
    return [sample.path for sample in samples if sample.path in trained]


def _trained(checkpoint: CheckpointInfo, file: Path, data: Any) -> int:
    """How many images the run was trained on, where those asked for are of its own root or data set."""
    run = checkpoint.data
    if data.dataset != run.get("dataset") or not same_path(data.root, run.get("root")):
        return 0
    return sum(sample.split == "train" for sample in read_split(file, root=None))


def _is_meant(checkpoint: CheckpointInfo, file: Path, data: Any, default: str) -> bool:
    """Whether the run's split is that of the images asked for."""
    method = checkpoint.data.get("split")
    if same_path(data.root, checkpoint.data.get("root")):
        return True
    unknown = method not in SPLIT_METHODS  # of a run that was resumed, whose checkpoints name its split.csv instead
    if data.split not in ((method, *SPLIT_METHODS) if unknown else (method, default)):
        return False
    if method in (None, "stratified"):  # which goes by each file: of more of them, hardly any is on another side
        return False
    if unknown and data.split == method:
        return not Path(method).is_file()
    return data.dataset is None and _are_below(file, data.root)


def _are_below(file: Path, root: str | None) -> bool:
    """Whether the images of a split file lie below a root, which has no division of its own.

    Raises:
        InputError: some do.
    """
    folder = check_root(at_home(root or ""))
    if has_split_folders(folder):
        return False
    samples = read_split(file, root=None)
    found = sum((folder / sample.path).is_file() for sample in samples)
    if 0 < found < len(samples):
        raise InputError(
            f"data.root: {found} of the {len(samples)} images that the run was trained on or held out are there, and "
            f"dividing it anew could hold out images that were trained on. Received: {str(root)!r}; put the others "
            "back, or give a split file as data.split, or all to measure every image."
        )
    return found > 0


def same_path(first: str | None, second: str | None) -> bool:
    """Whether both name one place, however they are written; or both none."""
    if first is None or second is None:
        return first is second
    return Path(at_home(first)).resolve() == Path(at_home(second)).resolve()
