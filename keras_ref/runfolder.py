"""The run folder: where it is, whether it can be written, and what a run's files are called."""

import itertools
from contextlib import suppress
from pathlib import Path

from keras_ref.errors import InputError

BEST, LAST = "best.weights.h5", "last.weights.h5"
"""differs: weights alone, for a model built from the run's config; lightning_tl's checkpoints also resume."""

CLAIM = ".claimed"
"""In a run folder from when it is chosen until the run has written something else; a killed process may leave it."""
_claims: list[Path] = []


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
    numbered = (root / f"run_{n}" for n in itertools.count(1))
    try:
        root.mkdir(parents=True, exist_ok=True)  # a link to nowhere is none, and would be none for ever
        return next(folder for folder in itertools.chain([root], numbered) if _claimed(folder))
    except OSError as error:
        raise InputError(
            f"trainer.default_root_dir: the run folder {root} cannot be written: {error}. Give another folder."
        ) from error


def release_claims() -> None:
    """Let go of the folders that were chosen: they hold a run by now, or never will."""
    while _claims:
        _claims.pop().unlink(missing_ok=True)


def _claimed(folder: Path) -> bool:
    """Take a new or empty folder, unless another run is quicker: it reads its images before it writes anything."""
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
