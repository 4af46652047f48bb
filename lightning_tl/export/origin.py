"""The run that a checkpoint comes from, read from its folder."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_tl.checkpoint import CheckpointInfo, find_info
from lightning_tl.data.split_file import read_split
from lightning_tl.errors import InputError
from lightning_tl.runfolder import BEST, run_folder_of
from lightning_tl.weights import sha256


@dataclass(frozen=True)
class Origin:
    """A checkpoint and what lies around it.

    Attributes:
        checkpoint: what the file says.
        sha256: of the file.
        folder: the run folder; where there is none, the checkpoint's own.
    """

    checkpoint: CheckpointInfo
    sha256: str
    folder: Path

    @property
    def is_tested(self) -> bool:
        """Whether the checkpoint is the one that results.json speaks of under ``test``, by its SHA-256.

        The name alone does not tell: a run that was resumed and has not come to its end may have a better one by now.
        It must do for a results.json that was written before there was the hash in it.
        """
        if self.results is None:
            return False
        known = self.results.get("checkpoint_sha256", self.sha256 if self.checkpoint.path.name == BEST else None)
        return bool(known == self.sha256)

    @property
    def split_file(self) -> Path | None:
        """The run's split.csv, if it is there."""
        path = self.folder / "split.csv"
        return path if path.is_file() else None

    @cached_property
    def results(self) -> dict[str, Any] | None:
        """The run's results.json; None where it is missing, damaged or of other classes."""
        try:
            values = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        ours = isinstance(values, dict) and values.get("classes") == list(self.checkpoint.class_names)
        return values if ours else None

    @cached_property
    def split_counts(self) -> dict[str, Counter[str]]:
        """Images by split, then class; empty where there is no split.csv."""
        counts: dict[str, Counter[str]] = {}
        if self.split_file is not None:
            try:
                samples = read_split(self.split_file, root=None)
            except InputError:
                return {}
            for sample in samples:
                counts.setdefault(sample.split, Counter())[sample.label] += 1
        return counts


def find_origin(name: str, root: str | Path) -> Origin:
    """The checkpoint by path, or ``best`` or ``last`` of the newest run under ``root``, and its run.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    info = find_info(name, root)
    return Origin(info, sha256(info.path), run_folder_of(info.path))
