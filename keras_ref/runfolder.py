"""The run folder: where it is, whether it can be written, and what a run's files are called."""

from pathlib import Path

from keras_ref.errors import InputError
from keras_ref.files import write_text

BEST, LAST = "best.weights.h5", "last.weights.h5"
"""differs: weights alone, for a model built from the run's config; lightning_tl's checkpoints also resume."""


def choose_run_folder(root: str | Path) -> Path:
    """``root`` itself when it is new or empty, else the first unused ``root/run_N``; created and writable.

    Raises:
        InputError: the folder cannot be created or written, or its name is no UTF-8.
    """
    root = Path(root)
    if any("\ud800" <= character <= "\udfff" for character in str(root)):
        raise InputError(
            f"trainer.default_root_dir: {str(root)!r} is no UTF-8, which the files of a run need. Give another folder."
        )
    folder = root
    try:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            folder = next(path for n in range(1, 10**9) if not (path := root / f"run_{n}").exists())
        write_text(folder / "probe", "writable")
        (folder / "probe").unlink()
    except OSError as error:
        raise InputError(
            f"trainer.default_root_dir: the run folder {folder} cannot be written: {error}. Give another folder."
        ) from error
    return folder
