"""One run folder, read and checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_tl.errors import InputError
from lightning_tl.report.rows import Epoch, Prediction, read_metrics, read_predictions, read_split

NEEDED = ("results.json", "predictions.csv")


@dataclass(frozen=True)
class Run:
    """What one fit has left behind, of either framework.

    Attributes:
        folder: the run folder.
        name: for people, unlike those of the runs beside it.
        results: contents of results.json.
        predictions: of all held-out images.
        epochs: metrics of each.
        samples: (split, path, label) of the rows of split.csv; None without that file.
        config: text of config.yaml; None without that file.
    """

    folder: Path
    name: str
    results: Mapping[str, Any]
    predictions: tuple[Prediction, ...]
    epochs: tuple[Epoch, ...]
    samples: tuple[tuple[str, str, str], ...] | None
    config: str | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the model's outputs."""
        return tuple(self.results["classes"])

    @property
    def split(self) -> str:
        """The split that the headline speaks of: test, or val where there is no test split."""
        return str(self.results["test"].get("split", "test"))

    @property
    def tested(self) -> list[Prediction]:
        """Predictions of that split."""
        return [row for row in self.predictions if row.split == self.split]

    @property
    def framework(self) -> str:
        """Such as lightning or keras-jax."""
        return str(self.results.get("framework", "unknown"))

    @property
    def phases(self) -> Sequence[Mapping[str, Any]]:
        """Name, epochs and metrics of each."""
        return list(self.results["phases"])

    @property
    def data(self) -> Mapping[str, Any]:
        """The block ``data`` of the config; empty where there is none or it is no YAML."""
        try:
            whole = yaml.safe_load(self.config or "")
        except yaml.YAMLError:
            return {}
        block = whole.get("data") if isinstance(whole, dict) else None
        return block if isinstance(block, dict) else {}


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Read run folders, in their order.

    Raises:
        InputError: one is empty, is no run folder, or is given twice.
    """
    if "" in folders:  # which pathlib takes for the current folder
        raise InputError("RUN: a run folder is needed; an unset shell variable gives none. Received: ''.")
    paths = [Path(folder) for folder in folders]
    places = [path.resolve() for path in paths]
    if twice := [path for path, place in zip(paths, places, strict=True) if places.count(place) > 1]:
        raise InputError(f"RUN: {str(twice[0])!r} is given twice. Give each run folder once.")
    names = [place.name for place in places]
    return [
        read_run(
            path,
            name if names.count(name) == 1 else f"{place.parent.name}/{name}" if _parents_differ(places) else str(path),
        )
        for path, place, name in zip(paths, places, names, strict=True)
    ]


def read_run(folder: str | Path, name: str | None = None) -> Run:
    """Read one run folder.

    Args:
        folder: where.
        name: for people; by default the folder's own.

    Raises:
        InputError: a file is missing or is not what ``fit`` writes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"RUN: {str(folder)!r} is no folder. Give a run folder, as fit prints it at its end.")
    if missing := [file for file in NEEDED if not (folder / file).is_file()]:
        raise InputError(
            f"RUN: {str(folder)!r} has no {' and no '.join(missing)}, which fit writes at its end. "
            "Give the folder of a run that has ended; fit --config RUN/config.yaml --ckpt_path "
            "RUN/checkpoints/last.ckpt ends one."
        )
    results = _results(folder / "results.json")
    predictions = read_predictions(folder / "predictions.csv", tuple(results["classes"]))
    run = Run(
        folder,
        name or folder.resolve().name,
        results,
        predictions,
        read_metrics(folder / "metrics.csv"),
        read_split(folder / "split.csv"),
        _text(folder / "config.yaml"),
    )
    if not run.tested:
        raise InputError(
            f"RUN: {str(folder / 'predictions.csv')!r} has no image of the split {run.split!r} that results.json "
            "speaks of. Give a run folder that fit has written."
        )
    return run


def _results(path: Path) -> dict[str, Any]:
    """Contents of results.json with the keys that the report needs."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read as JSON: {error}.") from error
    wanted = {"phases": list, "test": dict, "classes": list}
    if not isinstance(values, dict) or any(not isinstance(values.get(key), kind) for key, kind in wanted.items()):
        raise InputError(f"{str(path)!r} needs the keys {', '.join(wanted)}. Give a run folder that fit has written.")
    if not all(isinstance(phase, dict) for phase in values["phases"]):
        raise InputError(f"{str(path)!r}: phases is a list of objects. Give a run folder that fit has written.")
    if not values["classes"] or not all(isinstance(name, str) for name in values["classes"]):
        raise InputError(f"{str(path)!r}: classes is a list of names. Give a run folder that fit has written.")
    return values


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else None


def _parents_differ(places: Sequence[Path]) -> bool:
    """Whether parent and name together tell all folders apart."""
    return len({(place.parent.name, place.name) for place in places}) == len(places)
