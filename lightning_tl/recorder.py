"""What each phase of a run came to: its epochs, its last validation metrics, its images and seconds of training."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lightning_tl.phase import Phase


class Recorder:
    """An entry a phase, and a clock that runs while the run trains.

    Attributes:
        history: an entry a phase entered so far: name, epochs, images, seconds and validation metrics.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []
        self._clock = 0.0

    def enter(self, phases: Sequence[Phase]) -> None:
        """Empty entries for those of the phases that have none yet; the last is current."""
        for phase in phases[len(self.history) :]:
            self.history.append({"name": phase.name, "epochs": 0, "images": 0, "seconds": 0.0})

    def start(self) -> None:
        """Start the clock anew."""
        self._clock = time.perf_counter()

    def keep_running(self) -> None:
        """Start the clock if it stands."""
        self._clock = self._clock or time.perf_counter()

    def pause(self) -> None:
        """Add what the clock shows to the current phase's seconds, and stop it."""
        if self._clock:
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.synchronize()  # what it has still to do is training too
            self.history[-1]["seconds"] += time.perf_counter() - self._clock
            self._clock = 0.0

    def count(self, images: int) -> None:
        """Training images of a batch, all ranks together."""
        self.history[-1]["images"] += images

    def note(self, **values: Any) -> None:
        """Epochs or metrics of the current phase, over earlier ones."""
        self.history[-1].update(values)

    def state(self) -> list[dict[str, Any]]:
        """The history for a checkpoint, also in the middle of an epoch, whose clock goes on."""
        if self._clock:
            self.pause()
            self.start()
        return [dict(entry) for entry in self.history]


def results(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries for results.json: those of a history with ``images_per_second`` in place of images and seconds."""
    entries = []
    for entry in history:
        values = {key: value for key, value in entry.items() if key not in ("images", "seconds")}
        seconds = entry["seconds"]
        entries.append({**values, "images_per_second": entry["images"] / seconds if seconds else 0.0})
    return entries
