"""The run folder: where it is, whether it can be written, and what a run's files are called."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import nn

from lightning_tl.errors import InputError
from lightning_tl.files import at_home

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"

CLAIM = ".claimed"
"""In a run folder from when it is chosen until the run has written something else; a killed process may leave it."""
_claims: list[Path] = []

HEADROOM = 64 * 2**20
"""Bytes beyond the checkpoints that a run may need: logs, predictions, pictures."""


def choose_run_folder(root: str | Path) -> Path:
    """``root`` itself when it is new or empty, else the first such ``root/run_N``; created, and no other run's.

    Two runs that begin at once get two folders: each marks its own until ``release_claims``.

    Raises:
        InputError: the folder cannot be created or written, or its name is no UTF-8.
    """
    root = Path(root)
    if any("\ud800" <= character <= "\udfff" for character in str(root)):
        raise InputError(
            f"trainer.default_root_dir: {str(root)!r} is no UTF-8, which the files of a run need. Give another folder."
        )
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)  # a link to nowhere is none, and would be none for ever
        numbered = (root / f"run_{n}" for n in itertools.count(1))
        return next(folder for folder in itertools.chain([root], numbered) if _claimed(folder))


def release_claims() -> None:
    """Let go of the folders that were chosen: they hold a run by now, or never will."""
    while _claims:
        _claims.pop().unlink(missing_ok=True)


def _claimed(folder: Path) -> bool:
    """Take a new or empty folder, unless another run is quicker: it decodes its images before it writes anything."""
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    if not folder.is_dir() or any(folder.iterdir()):
        return False
    claim = folder / CLAIM
    try:
        claim.open("x").close()
    except FileExistsError:
        return False
    if any(entry != claim for entry in folder.iterdir()):  # a run that began and ended since we looked
        claim.unlink()
        return False
    _claims.append(claim)
    return True


def check_writable(folder: Path) -> None:
    """Write a byte in ``folder``, created if need be, and leave nothing. Raises InputError if that fails."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"w")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise InputError in place of an OSError from writing to the run folder."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"trainer.default_root_dir: the run folder {folder} cannot be written: {error}. Give another folder."
        ) from error


def run_folder_of(checkpoint: str | Path) -> Path:
    """The run folder that a checkpoint ``RUN/checkpoints/X.ckpt`` belongs to; else the checkpoint's own folder."""
    parent = Path(checkpoint).resolve().parent
    return parent.parent if parent.name == "checkpoints" else parent


def find_checkpoint(name: str | None, root: str | Path) -> Path:
    """A checkpoint by path, or ``best`` or ``last`` of the newest run under ``root``.

    The newest run is the one that saved a checkpoint most recently.

    Raises:
        InputError: there is none, or that run has none of that name.
    """
    if name is None:
        raise InputError("ckpt_path: a trained model is needed. Give --ckpt_path RUN/checkpoints/best.ckpt.")
    if name == "":
        raise InputError(
            "ckpt_path: best, last or a checkpoint's path is needed; an unset shell variable gives none. Received: ''."
        )
    try:
        return _found(name, root)
    except OSError as error:  # a name that is too long, or a folder that nobody may look into
        raise InputError(
            f"ckpt_path: {error.filename} cannot be read: {error.strerror}. Received: {name}; give the path of a "
            "checkpoint."
        ) from error


def _found(name: str, root: str | Path) -> Path:
    if name in ("best", "last"):
        file = BEST if name == "best" else LAST
        folder = _newest_checkpoints(Path(root))
        if folder is None or not (folder / file).is_file():
            where = f"{root} or its run_N folders" if folder is None else f"{folder.parent}, the newest run"
            raise InputError(
                f"ckpt_path: no checkpoints/{file} in {where}. Received: {name}; "
                "give the checkpoint's path, or its run's folder (--trainer.default_root_dir; for export --root). "
                "A fit without ckpt_path trains from the start."
            )
        return folder / file
    path = Path(at_home(name))
    if not path.is_file():
        raise InputError(f"ckpt_path: no such file. Received: {name}.")
    return path


def _newest_checkpoints(root: Path) -> Path | None:
    """The folder of the checkpoint that was saved last, by whichever run in ``root`` or its ``run_N`` folders."""
    folders = [root / "checkpoints", *root.glob("run_*/checkpoints")]
    found = [path for folder in folders for name in (BEST, LAST) if (path := folder / name).is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent if found else None


def check_space(folder: Path, model: nn.Module) -> None:
    """Raise InputError if the disk of ``folder`` has no room for the checkpoints of ``model``.

    Best, last, the one before it and one being written, each with the weights and at most two moments of Adam a weight.
    A run that goes on has some of them already.
    """
    weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    there = [path for name in (BEST, LAST, PREVIOUS) if (path := folder / "checkpoints" / name).is_file()]
    needed = max(4 * 3 * weights - sum(path.stat().st_size for path in there), 3 * weights) + HEADROOM
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"trainer.default_root_dir: {folder} has {free / 2**20:.0f} MiB free; a run needs about "
            f"{needed / 2**20:.0f} MiB. Free some space or give another folder."
        )
