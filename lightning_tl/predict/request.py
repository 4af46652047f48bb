"""What ``predict`` is asked for beside the trainer's and the data's options."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_tl.errors import InputError
from lightning_tl.files import behind_links
from lightning_tl.predict.formats import format_of
from lightning_tl.predict.inputs import STDIN

STDOUT = "-"
"""As output: JSON lines on standard output."""

HELP = f"""Classes and probabilities of images: lightning-tl predict PATH... --ckpt_path best|last|FILE [options]. A
PATH is a file, a folder (all images below it, sorted), a quoted glob ('photos/**/*.jpg'), or, alone, {STDIN}: a list on
standard input, one path a line. Predictions keep the order of the paths, one for each time a path is given. Files that
cannot be read do not stop it, whatever data.on_bad_image is: they are listed with the reason beside the output, in
predictions.errors.csv for predictions.csv, and counted at the end; the exit status is 0 all the same. Interrupted in
any way, the same command continues from OUTPUT.partial. Memory does not grow with the number of paths. Without a PATH,
--data.root DIR (by default the run's own images) goes to predictions.csv in a run folder, and data.on_bad_image
counts."""

OPTIONS: dict[str, tuple[type, str]] = {
    "output": (
        str,
        "file of the predictions (default: predictions.csv); .csv, .jsonl or .parquet says how they are written, "
        f"{STDOUT} writes JSON lines to standard output, which cannot be resumed",
    ),
    "top_k": (int, "the most probable classes to write, with their probabilities; 0 (default): those of all classes"),
    "resume": (bool, "continue an interrupted prediction (default: true); false starts anew"),
    "overwrite": (bool, "replace an output that exists (default: false)"),
    "null": (bool, f"paths in the list on {STDIN} end with a NUL (find -print0), not with the line (default: false)"),
    "fail_on_unreadable": (
        bool,
        "exit status 2, after all is done and written, if a file could not be read (default: false)",
    ),
}
"""The options with PATHs: type and help."""


@dataclass(frozen=True)
class Request:
    """The options of ``predict`` with PATHs.

    Attributes:
        output: file of the predictions; .csv, .jsonl or .parquet says how they are written. - writes JSON lines to
            standard output, which cannot be resumed.
        top_k: how many of the most probable classes to write; 0 writes every class's probability.
        resume: continue an interrupted prediction from OUTPUT.partial; false starts anew.
        overwrite: replace an OUTPUT that exists.
        null: paths on standard input end with a NUL (find -print0), not with the line.
        fail_on_unreadable: end with an error, after all is done and written, if a file could not be read.

    Raises:
        InputError: the output has no known suffix.
    """

    output: str = "predictions.csv"
    top_k: int = 0
    resume: bool = True
    overwrite: bool = False
    null: bool = False
    fail_on_unreadable: bool = False

    def __post_init__(self) -> None:
        format_of(self.output)
        if self.output != STDOUT and self.target.suffix != Path(self.output).suffix:
            raise InputError(
                f"output: the link {self.output!r} leads to a file of another ending. Received: {str(self.target)!r}; "
                "give a link of the same."
            )

    @property
    def target(self) -> Path:
        """The file that is written: the output, or what it leads to where it is a link."""
        return behind_links(self.output)

    @property
    def errors(self) -> Path:
        """The list of files that could not be read."""
        output = self.target
        return behind_links(output.with_name(f"{output.stem}.errors.csv"))

    @property
    def partial(self) -> Path:
        """The folder of an unfinished result."""
        output = self.target
        return output.with_name(f"{output.name}.partial")

    @property
    def continues(self) -> bool:
        """Whether the same request again continues one that was interrupted."""
        return self.resume and self.output != STDOUT


def add_request(parser: Any) -> None:
    """Give the parser of ``predict`` the options of a request, absent by default, and the help."""
    parser.description = HELP
    for name, (kind, text) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind | None, default=None, help=text)


def make_request(values: Mapping[str, Any]) -> Request:
    """The request in the options of the command line, of which those that are None have their default."""
    return Request(**{name: values[name] for name in OPTIONS if values.get(name) is not None})


def check_no_request(values: Mapping[str, Any]) -> None:
    """Raise InputError if an option was given that needs PATHs."""
    for name in OPTIONS:
        if values.get(name) is not None:
            raise InputError(
                f"{name}: it goes with PATHs. Give the images as PATHs (files, folders, globs, or {STDIN} for a list "
                f"on standard input) instead of data.root. Received: {values[name]!r}, and no PATH."
            )


def check_root_absent(root: str | None, dataset: str | None) -> None:
    """Raise InputError if there is another source of images beside PATHs."""
    for name, value in (("root", root), ("dataset", dataset)):
        if value is not None:
            raise InputError(
                f"data.{name}: predict takes its images from PATHs or from data.{name}, not from both. Leave one out. "
                f"Received: {value!r}."
            )
