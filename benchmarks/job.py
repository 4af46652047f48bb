"""What a worker is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.settings import Settings


@dataclass(frozen=True)
class Job:
    """A framework's work.

    Attributes:
        framework: which.
        settings: the run's, with the framework's own differences.
        folder: with train.npz and val.npz.
        root: folder of class folders with JPEG files.
        classes: their names.
        weights: Keras' .h5 file.
        cores: to run on; empty for all.
        environment: further environment variables, set before the framework is imported.
        world: processes that train together; this one's number is in ``environment``.
    """

    framework: Framework
    settings: Settings
    folder: Path
    root: Path
    classes: tuple[str, ...]
    weights: Path
    cores: tuple[int, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    world: int = 1

    def to_dict(self) -> dict[str, Any]:
        """As the worker's first line of JSON."""
        return {
            "runner": self.framework.runner,
            "precision": self.framework.precision,
            "options": self.framework.options,
            "settings": self.settings.to_dict(),
            "threads": self.settings.threads,
            "folder": str(self.folder),
            "root": str(self.root),
            "classes": list(self.classes),
            "weights": str(self.weights),
            "cores": list(self.cores),
            "environment": self.environment,
            "world": self.world,
        }
