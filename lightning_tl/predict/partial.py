"""An unfinished result: a folder of chunks, and a manifest that says what they were made of and which are whole."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from lightning_tl.errors import InputError
from lightning_tl.files import write_text
from lightning_tl.locking import alone
from lightning_tl.predict.inputs import PathStream

MANIFEST, WHOLE = "manifest.json", "whole"
LOCK = "lock"
"""Name of the file by which one process at a time has the folder."""
_OURS = re.compile(rf"{MANIFEST}|{LOCK}|{WHOLE}|\d+\.(rows|errors)|\.({WHOLE}|manifest)\..*")


@dataclass
class State:
    """How far a result has come.

    Attributes:
        chunks: that are whole.
        paths: in them, readable or not.
        sha256: of their paths, chained from chunk to chunk by ``Chain``.
        predicted: images in them that were read.
        unreadable: files in them that were not.
        finished: whether they hold all there is.
    """

    chunks: int = 0
    paths: int = 0
    sha256: str = ""
    predicted: int = 0
    unreadable: int = 0
    finished: bool = False


class Chain:
    """The hash of a chunk's paths and all before them.

    Args:
        before: hexadecimal digest of the chunks before.
    """

    def __init__(self, before: str) -> None:
        self._hash = hashlib.sha256(before.encode())

    def add(self, paths: Iterable[str]) -> None:
        """The next paths of the chunk."""
        for path in paths:
            self._hash.update(os.fsencode(path) + b"\0")

    def digest(self) -> str:
        """Hexadecimal."""
        return self._hash.hexdigest()


@dataclass
class Partial:
    """The folder of an unfinished result.

    Attributes:
        folder: beside the output, with ``.partial`` behind its name.
        settings: everything that decides the bytes of the result, but for the images; plain values.
        chunk_size: paths in a chunk.
        state: how far it has come.
    """

    folder: Path
    settings: Mapping[str, Any]
    chunk_size: int
    state: State = field(default_factory=State)

    def rows(self, chunk: int) -> Path:
        """The file with the predictions of a chunk."""
        return self.folder / f"{chunk:06}.rows"

    def errors(self, chunk: int) -> Path:
        """The file that tells which of its paths could not be read."""
        return self.folder / f"{chunk:06}.errors"

    def save(self) -> None:
        """Write the manifest, whole or not at all: with it the chunks that ``state`` counts become valid."""
        content = {"settings": dict(self.settings), "chunk_size": self.chunk_size, "state": asdict(self.state)}
        write_text(self.folder / MANIFEST, json.dumps(content, indent=1) + "\n")

    def load(self) -> None:
        """Take ``state`` from the manifest; without one, or before the first chunk is whole, nothing has been done.

        Raises:
            InputError: the manifest is damaged or of other settings, or the folder holds something else.
        """
        self._check_ours()
        path = self.folder / MANIFEST
        if not path.is_file():
            return
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            state, theirs = State(**content["state"]), content["settings"]
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"output: {path} is damaged ({error}). Start anew with --resume false.") from error
        if not state.chunks and not state.finished:
            return
        ours = json.loads(json.dumps(dict(self.settings)))
        if changed := [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]:
            parts = "; ".join(f"{key}: {_shown(theirs.get(key))}, now {_shown(ours.get(key))}" for key in changed)
            raise InputError(
                f"output: {self.folder} holds an unfinished result of other settings ({parts}). Give the same again to "
                "continue it, start anew with --resume false, or write to another file."
            )
        self.state = state

    def skip(self, stream: PathStream) -> None:
        """Take the paths that are done from the stream. Raises InputError if they are not those that were done."""
        digest = ""
        for _ in range(self.state.chunks):
            chain = Chain(digest)
            chain.add(islice(stream, self.chunk_size))
            digest = chain.digest()
        more = self.state.finished and next(stream, None) is not None
        if digest != self.state.sha256 or stream.taken != self.state.paths or more:
            raise InputError(
                f"output: {self.folder} holds the results of {self.state.paths} paths, and PATH no longer gives the "
                "same ones: files were added, removed or renamed, or the list is another. Start anew with --resume "
                "false, or write to another file."
            )

    def clear(self) -> None:
        """Remove what has been done. Raises InputError if the folder holds anything that is not of a result."""
        names = self._check_ours()
        for name in sorted(names, key=lambda name: name != MANIFEST):  # without a manifest nothing counts
            if name != LOCK:
                (self.folder / name).unlink()

    def remove(self) -> None:
        """Remove the folder as well."""
        self.clear()
        with suppress(OSError):  # Windows keeps an open file, and NFS its place, until it is closed
            (self.folder / LOCK).unlink(missing_ok=True)
            self.folder.rmdir()

    def _check_ours(self) -> list[str]:
        """Names in the folder, which are all of a result's files."""
        names = [path.name for path in self.folder.iterdir()]
        if strange := sorted(name for name in names if not _OURS.fullmatch(name)):
            raise InputError(
                f"output: {self.folder} is the place for an unfinished result, and it holds something else: "
                f"{strange[0]!r}. Move it away, or write to another file."
            )
        return names


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raise InputError in place of an OSError from writing."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"output: {place} cannot be written: {error.strerror or error}. What is done is kept: the same command "
            "continues from there once this is mended."
        ) from error


@contextmanager
def opened(partial: Partial, output: Path, errors: Path, resume: bool, overwrite: bool) -> Iterator[None]:
    """Keep a partial result, a new one or one that is to be continued, from other processes.

    Args:
        partial: its ``state`` becomes that of the manifest.
        output: what the result is to become.
        errors: where the list of files that could not be read is to be.
        resume: continue a result that is there, not begin anew.
        overwrite: replace an ``output`` that is there, and ``errors``.

    Raises:
        InputError: there is an output, or another's list of errors, that is not to be replaced, another process is
            writing, the result that is there is of other settings, or the folder cannot be written.
    """
    if output.is_dir():
        raise InputError(f"output: it is a folder. Give the name of a file. Received: {str(output)!r}.")
    kept = output.exists() and not overwrite
    if kept and not (resume and partial.folder.exists()):
        raise InputError(_is_there(output))
    with ExitStack() as stack:
        with writing(partial.folder):
            partial.folder.mkdir(parents=True, exist_ok=True)
            taken = f"output: another process is writing to {partial.folder}. Wait for it, or write to another file."
            stack.enter_context(alone(partial.folder / LOCK, taken))
            partial.load() if resume else partial.clear()
            if kept and not partial.state.finished:  # a finished one was ended between the last two steps
                raise InputError(_is_there(output))
            if errors.exists() and not (overwrite or partial.state.finished):  # of out.csv, beside out.parquet
                raise InputError(_is_there(errors))
            partial.save()
        yield


def _is_there(output: Path) -> str:
    return (
        f"output: the file is there already. Replace it with --overwrite true, or give another name. "
        f"Received: {str(output)!r}."
    )


def _shown(value: Any) -> str:
    """A setting in a message: short."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
