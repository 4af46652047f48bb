"""How long a framework takes to become good."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.alive import alive
from benchmarks.frameworks import Framework
from benchmarks.prepare import Ground
from benchmarks.rounds import middle


def time_to_accuracy(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """In one piece; see ``_measured``."""
    return [partial(_measured, ground, frameworks)]


def _measured(ground: Ground, frameworks: Sequence[Framework]) -> list[dict[str, Any]]:
    """Seconds and images until held-out images are classified well enough, validation and compilation included.

    Each time in a new process: what one has compiled or planned, another framework might have to do again.
    """
    settings = ground.settings
    rounds = 1 if settings.budget else min(3, settings.rounds)
    runs: list[dict[str, dict[str, Any]]] = []
    for _ in range(rounds):
        runs.append({})
        for framework in frameworks:
            with alive(ground, [framework]) as group:
                runs[-1] |= group.each(do="reach", accuracy=settings.accuracy, epochs=settings.epochs)
    rows = []
    for framework in frameworks:
        own = [run[framework.key] for run in runs if framework.key in run]
        if len(own) == rounds:
            reached = all(result["reached"] for result in own)
            rows.append(
                {
                    "framework": framework.name,
                    "precision": framework.precision,
                    "target": settings.accuracy,
                    "reached": reached,
                    "accuracy": middle(result["accuracy"] for result in own),
                    "seconds": middle(result["seconds"] for result in own) if reached else None,
                    "images": round(middle(result["images"] for result in own)) if reached else None,
                }
            )
    return rows
