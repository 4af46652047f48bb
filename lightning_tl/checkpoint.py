"""What a checkpoint file says about its run, without building the model."""

import pickle
import struct
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision

from lightning_tl.errors import InputError
from lightning_tl.runfolder import BEST, LAST, PREVIOUS, find_checkpoint
from lightning_tl.same_run import check_classes
from lightning_tl.saving import STOPPED

DATA_SETTINGS = (
    "root", "dataset", "dataset_args", "split", "val_fraction", "test_fraction", "seed", "image_size", "resize",
    "antialias",
)  # fmt: skip
"""Data settings that a command on a checkpoint takes from it unless they are given."""

OWN_DATASETS = ("lightning_tl.data.digits.Digits",)
"""Data sets beside torchvision's that a checkpoint may name: they are part of this package."""


@dataclass(frozen=True)
class CheckpointInfo:
    """The run behind a checkpoint.

    Attributes:
        path: the file.
        class_names: in label order.
        data: those of ``DATA_SETTINGS`` that the run had; ``image_size`` always.
        global_step: optimizer steps taken.
        foreign_dataset: class path of the run's data set where it is neither torchvision's nor ours. It is left out of
            ``data`` then: a file must not choose what is called.
        stopped_in_epoch: that in whose middle the run was told to stop, counted from 0; None elsewhere.
    """

    path: Path
    class_names: tuple[str, ...]
    data: dict[str, Any]
    global_step: int
    foreign_dataset: str | None = None
    stopped_in_epoch: int | None = None

    def warn_of_dataset(self, advice: str) -> None:
        """Warn of a data set that is not taken from the file; ``advice`` is what the command can do without it."""
        if self.foreign_dataset is not None:
            warnings.warn(
                f"The checkpoint was trained on {self.foreign_dataset!r}, which is neither torchvision's nor ours and "
                f"is not imported on the word of a file: {advice}",
                stacklevel=3,
            )

    def require_classes(self, names: Sequence[str]) -> None:
        """Raise InputError unless the data's classes are the checkpoint's."""
        check_classes("ckpt_path: the checkpoint", self.class_names, names)


def read_info(path: Path) -> CheckpointInfo:
    """Read a checkpoint with ``weights_only=True``: no code in it can run, and none that it names.

    Raises:
        InputError: the file is no checkpoint of lightning-tl, is damaged, or holds a pickled payload.
    """
    try:
        content = _load(path)
        hparams, settings = content["hyper_parameters"], content.get("datamodule_hyper_parameters", {})
        names, step = tuple(hparams["class_names"]), int(content.get("global_step", 0))
        data = {key: settings[key] for key in DATA_SETTINGS if key in settings}
        if "image_size" not in data:  # trained with loaders that say nothing of themselves
            data["image_size"] = hparams["image_size"]
    except InputError:
        raise
    except (RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise InputError(
            f"ckpt_path: not a checkpoint of lightning-tl, or a damaged one. Received: {path} "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'})."
        ) from error
    if "_instantiator" in hparams:  # Lightning imports and calls what this names
        raise InputError(f"ckpt_path: the checkpoint asks for a function to be run. Received: {path}.")
    foreign = None if _is_known(data.get("dataset")) else str(data["dataset"])
    if foreign is not None:
        data = {key: value for key, value in data.items() if key not in ("dataset", "dataset_args")}
    return CheckpointInfo(path, names, data, step, foreign, content.get(STOPPED))


def saved_state(path: Path, callback: str) -> dict[str, Any] | None:
    """What a callback, by its ``state_key``, has saved of itself in a checkpoint; None if it is not there."""
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    state: dict[str, Any] | None = content.get("callbacks", {}).get(callback)
    return state


def _load(path: Path) -> dict[str, Any]:
    """Tensors and plain values; InputError for anything else, which is not unpickled."""
    _check_sums(path)
    try:
        with warnings.catch_warnings():  # of pickles that are refused in the same breath
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except pickle.UnpicklingError as error:  # whose message advises to load the file all the same
        raise InputError(
            f"ckpt_path: not a checkpoint of lightning-tl, or a damaged one: it holds more than tensors and plain "
            f"values, and pickled objects are never loaded. Received: {path}."
        ) from error


def _check_sums(path: Path) -> None:
    """Compare the checksums that are stored beside the tensors: torch does not, and would train on flipped bits.

    Raises:
        InputError: the file is not what ``torch.save`` writes.
        ValueError: a part of it has changed since.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [part.filename for part in archive.infolist() if part.compress_type != zipfile.ZIP_STORED]
            changed = packed[0] if packed else archive.testzip()
    except zipfile.BadZipFile as error:
        raise InputError(
            f"ckpt_path: not a checkpoint of lightning-tl, or a damaged one: no archive of tensors, and pickled "
            f"objects are never loaded. Received: {path}."
        ) from error
    if changed is not None:
        raise ValueError(f"{changed} is not what was saved")


def _is_known(dataset: Any) -> bool:
    """Whether a data set, if there is one, is torchvision's or ours."""
    torchvisions = str(dataset).removeprefix("torchvision.datasets.") in torchvision.datasets.__all__
    return dataset is None or torchvisions or dataset in OWN_DATASETS


def find_info(name: str | None, root: str | Path) -> CheckpointInfo:
    """Find a checkpoint as ``runfolder.find_checkpoint`` does and read it.

    A damaged ``last.ckpt`` is answered with the one saved before it, and a warning.

    Raises:
        InputError: there is none, or none can be read.
    """
    path = find_checkpoint(name, root)
    previous = path.with_name(PREVIOUS)
    try:
        return read_info(path)
    except InputError as error:
        if path.name != LAST or not previous.is_file():
            raise
        try:
            info = read_info(previous)
        except InputError as second:
            raise InputError(
                f"{error} The checkpoint before it, {previous}, cannot be read either. Give the best instead: "
                f"{path.with_name(BEST)}."
            ) from second
        warnings.warn(f"{error} Continuing from the checkpoint before it, {previous}.", stacklevel=2)
        return info
