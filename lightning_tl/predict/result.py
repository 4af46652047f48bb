"""Where predictions go: into chunks that become one file in the end, or to standard output."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from filecmp import cmp
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_tl.errors import InputError, printable
from lightning_tl.files import replacing
from lightning_tl.predict.partial import WHOLE, Chain, Partial, writing
from lightning_tl.predict.rows import Format, Rows
from lightning_tl.predict.text_formats import TextFormat, csv_line, join_files
from lightning_tl.table import guarded

Entry = tuple[str, str]
"""A path, and why it could not be read: nothing if it was."""


class Result(Protocol):
    """What takes predictions, step by step, in the order of the paths."""

    def write(self, entries: Sequence[Entry], probabilities: NDArray[np.float32]) -> None:
        """Take a step's images: float32 (images, classes), whose rows of unreadable ones mean nothing."""

    def close(self) -> None:
        """There are no more."""

    def drop(self) -> None:
        """There may be more, but they do not come now."""


class Chunks:
    """Writes a partial result chunk by chunk.

    A chunk's files are on the disk before the manifest counts them: whenever the process ends, every chunk that the
    manifest knows is whole.

    Args:
        partial: where, and how far it has come.
        form: how rows are written.
    """

    def __init__(self, partial: Partial, form: Format) -> None:
        self.partial, self.form = partial, form
        self._rows: IO[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._chain = Chain("")
        self._taken = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"partial": self.partial, "form": self.form}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Chunks.__init__(self, **state)

    def write(self, entries: Sequence[Entry], probabilities: NDArray[np.float32]) -> None:
        """Add a step's images to the chunk, and end it when it is full. Raises InputError if the disk takes no more."""
        with writing(self.partial.folder):
            rows_file, errors_file = self._open()
            rows, bad = divide(entries, probabilities)
            self.form.add(rows_file, rows)
            errors_file.writelines(csv_line([guarded(path), guarded(reason)]) for path, reason in bad)
            self._chain.add(path for path, _ in entries)
            self._taken += len(entries)
            self.partial.state.predicted += len(rows.paths)
            self.partial.state.unreadable += len(bad)
            if self._taken >= self.partial.chunk_size:
                self._end_chunk()

    def close(self) -> None:
        """End the last chunk and say in the manifest that it is the last."""
        with writing(self.partial.folder):
            self.partial.state.finished = True
            if self._taken:
                self._end_chunk()
            else:
                self.partial.save()

    def drop(self) -> None:
        """Close the files of the chunk that is not whole, which will be written anew."""
        for file in (self._rows, self._errors):
            if file is not None:
                with suppress(OSError):  # what a full disk does not take
                    file.close()
        self._rows = self._errors = None

    def _open(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._rows is None or self._errors is None:
            state = self.partial.state
            self._rows = self.partial.rows(state.chunks).open("wb")
            self._errors = self.partial.errors(state.chunks).open("wb")
            self._chain, self._taken = Chain(state.sha256), 0
        return self._rows, self._errors

    def _end_chunk(self) -> None:
        rows_file, errors_file = self._open()
        self.form.end(rows_file)
        for file in (rows_file, errors_file):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        state = self.partial.state
        state.chunks, state.paths, state.sha256 = state.chunks + 1, state.paths + self._taken, self._chain.digest()
        self._rows = self._errors = None
        self._taken = 0
        self.partial.save()


class Lines:
    """Writes rows to standard output as they come, and what could not be read to standard error.

    Args:
        form: of text.

    Attributes:
        predicted: images written.
        unreadable: files that could not be read.
    """

    def __init__(self, form: TextFormat) -> None:
        self.form, self.predicted, self.unreadable = form, 0, 0

    def write(self, entries: Sequence[Entry], probabilities: NDArray[np.float32]) -> None:
        """A step's images. Raises InputError if nobody reads them any more."""
        rows, bad = divide(entries, probabilities)
        try:
            self.form.add(sys.stdout.buffer, rows)
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            with suppress(OSError):  # or Python would try once more at its end, and complain
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise InputError(
                "output: nobody reads standard output any more, so there is nothing more to do."
            ) from error
        self.predicted += len(rows.paths)
        self.unreadable += len(bad)
        for path, reason in bad:
            print(printable(f"{path!r} cannot be read: {reason}"), file=sys.stderr)

    def close(self) -> None:
        """Nothing is left to write."""

    def drop(self) -> None:
        """Nor to close."""


def put_in_place(partial: Partial, form: Format, output: Path, errors: Path, overwrite: bool) -> None:
    """Join a finished result into ``output`` and the list of what could not be read into ``errors``; drop the chunks.

    Each appears whole, under its name, by renaming; without unreadable files there is no ``errors``, not even an
    old one. Interrupted at any point, it can be done again.

    Args:
        partial: finished.
        form: how its rows are written.
        output: the result.
        errors: the list beside it.
        overwrite: replace or remove another result's list, too.

    Raises:
        InputError: they cannot be written, or ``errors`` is another result's, which has come meanwhile.
    """
    with writing(output):
        whole = partial.folder / WHOLE
        _put_errors(partial, whole, errors, overwrite)
        with replacing(whole) as temporary:
            form.join(map(partial.rows, range(partial.state.chunks)), temporary)
        whole.replace(output)
        partial.remove()


def _put_errors(partial: Partial, whole: Path, errors: Path, overwrite: bool) -> None:
    """The list of what could not be read; ``whole`` is where it is joined."""
    listed = partial.state.unreadable > 0
    if listed:
        with replacing(whole) as temporary:
            join_files(csv_line(["path", "reason"]), map(partial.errors, range(partial.state.chunks)), temporary)
    done = listed and errors.is_file() and cmp(whole, errors, shallow=False)  # and interrupted right after it
    if errors.exists() and not (overwrite or done):
        raise InputError(
            f"output: the list of another result, which shares its name, has come meanwhile. Move it away, or replace "
            f"it with --overwrite true; what is done is kept, and the command continues. Received: {str(errors)!r}."
        )
    whole.replace(errors) if listed else errors.unlink(missing_ok=True)


def divide(entries: Sequence[Entry], probabilities: NDArray[np.float32]) -> tuple[Rows, list[Entry]]:
    """Images that were read, and those that were not."""
    read = np.array([not reason for _, reason in entries], dtype=bool)
    rows = Rows([path for path, reason in entries if not reason], probabilities[read])
    return rows, [entry for entry in entries if entry[1]]
