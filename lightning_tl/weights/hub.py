"""Weights of timm on the Hugging Face hub and in its local cache, verified by the hash the hub publishes."""

import re
from pathlib import Path

from lightning_tl.weights.download import (
    ANSWER_SECONDS,
    DOWNLOAD_SECONDS,
    UnavailableError,
    sha256,
    verify,
    within,
)

FILES = ("model.safetensors", "pytorch_model.bin")
"""Names timm looks for, in its order (timm/models/_hub.py)."""


def hub_cached(repository: str, filename: str | None) -> Path:
    """The file in the hub's local cache.

    Large files are stored there under their SHA-256 (the ``etag`` of Git LFS), and hold to it.

    Raises:
        UnavailableError: not there, or its content is not what its name says.
    """
    from huggingface_hub import try_to_load_from_cache  # comes with timm; slow to import

    name, _, revision = repository.partition("@")
    for candidate in _candidates(filename):
        found = try_to_load_from_cache(name, candidate, revision=revision or None)
        if isinstance(found, str):
            return _verified(Path(found))
    raise UnavailableError("no such file")


def hub_download(repository: str, filename: str | None) -> Path:
    """Download into the hub's cache.

    Raises:
        UnavailableError: no answer in time, no such file, or a hash other than the published one.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for candidate in _candidates(filename):
        try:
            etag, path = _download(repository, candidate)
        except UnavailableError:
            raise
        except Exception as error:  # the hub's client raises errors of several HTTP libraries
            lost = isinstance(error, LocalEntryNotFoundError)  # a lost connection, on which it finds no copy here
            if isinstance(error, EntryNotFoundError) and not lost:
                continue
            message = (str(error).strip().splitlines() or [""])[0]
            raise UnavailableError(f"{type(error).__name__}: {message}") from error
        verify(path, _digest(etag))
        return path
    raise UnavailableError(f"it has none of {', '.join(_candidates(filename))}")


def _download(repository: str, filename: str) -> tuple[str, Path]:
    """The published hash, asked for first and quickly, and the file."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    name, _, revision = repository.partition("@")
    url = hf_hub_url(name, filename, revision=revision or None)
    etag = within(ANSWER_SECONDS, lambda: get_hf_file_metadata(url, timeout=ANSWER_SECONDS).etag)
    path = within(DOWNLOAD_SECONDS, lambda: hf_hub_download(name, filename, revision=revision or None))
    return etag or "", Path(path)


def _candidates(filename: str | None) -> tuple[str, ...]:
    return (filename,) if filename else FILES


def _verified(path: Path) -> Path:
    """A cached file whose blob name, its published hash, is that of its content."""
    if sha256(path) != _digest(path.resolve().name):
        raise UnavailableError(f"{path} is damaged: its SHA-256 is not the published one")
    return path


def _digest(etag: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", etag):
        raise UnavailableError("there is no published SHA-256 to verify it by")
    return etag
