"""What ``export`` is asked for, and what can be said of it before torch is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lightning_tl.errors import InputError
from lightning_tl.files import behind_links

SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "keras": ".keras", "safetensors": ".safetensors"}
"""Formats, and how their files end."""
CARD, CONFIG = ".md", ".json"
"""What is added to the file's name for the card, and for the config of safetensors."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Those of the extra ``export``."""


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        checkpoint: path, ``best`` or ``last``.
        kind: of ``SUFFIXES``.
        output: the file to write, or a link to it of the same ending.
        int8: quantise; for onnx alone.
        images: files and folders to compare on; none for the run's validation images.
        data_root: where the run's images lie now; None for where they were.
        root: folder in which ``best`` and ``last`` are looked for.
        overwrite: replace what is there.
    """

    checkpoint: str
    kind: str
    output: Path
    int8: bool = False
    images: Sequence[str] = ()
    data_root: str | None = None
    root: str = "runs"
    overwrite: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, its card, and the config of safetensors."""
        added = (CARD, CONFIG) if self.kind == "safetensors" else (CARD,)
        return self.output, *(self.output.with_name(self.output.name + suffix) for suffix in added)

    def check(self) -> None:
        """Raise InputError for a bad name, a file that is there, or packages that are not."""
        try:
            self._check()
        except OSError as error:  # a name that is too long, or a folder that nobody may look into
            raise InputError(
                f"output: {error.filename!r} cannot be written: {error.strerror}. Received: {str(self.output)!r}; "
                "give another name."
            ) from error

    def _check(self) -> None:
        received = f"Received: {str(self.output)!r}."
        for name, words in (("CKPT", [self.checkpoint]), ("images", self.images)):
            if "" in words:  # which pathlib takes for the current folder
                raise InputError(f"{name}: a path is needed; an unset shell variable gives none. Received: ''.")
        if self.kind not in SUFFIXES:
            raise InputError(f"format: one of {', '.join(SUFFIXES)}. Received: {self.kind!r}.")
        for path in (self.output, behind_links(self.output)):
            if path.suffix != SUFFIXES[self.kind]:
                raise InputError(
                    f"output: a file of format {self.kind} ends in {SUFFIXES[self.kind]}. Received: {str(path)!r}."
                )
        if any("\ud800" <= character <= "\udfff" for character in str(self.output)):
            raise InputError(f"output: the runtimes need a name in UTF-8. {received} Give another name.")
        if self.int8 and self.kind != "onnx":
            raise InputError(f"int8: for format onnx alone. Received: format {self.kind}.")
        self._check_free()
        if self.kind == "onnx":
            check_onnx_installed()

    def _check_free(self) -> None:
        if folders := [str(path) for path in self.paths if path.is_dir()]:
            raise InputError(f"output: {folders[0]!r} is a folder. Give the name of a file.")
        if not self.overwrite and (taken := [str(path) for path in self.paths if path.exists()]):
            raise InputError(f"output: {taken[0]!r} exists already. Give another name, or --overwrite to replace it.")


def check_onnx_installed() -> None:
    """Raise InputError naming the packages that are missing and the command that installs them."""
    if missing := [name for name in ONNX_PACKAGES if find_spec(name) is None]:
        raise InputError(
            f"format: onnx needs {', '.join(missing)}, not installed here. "
            f"Install with: pip install {' '.join(missing)}."
        )
