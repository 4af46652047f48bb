"""How long a framework takes to begin."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.alive import alive
from benchmarks.frameworks import Framework
from benchmarks.prepare import Ground
from benchmarks.process import Worker, WorkerError
from benchmarks.rounds import Group, middle, spread
from benchmarks.settings import PHASES


def startup(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """In one piece; see ``_measured``."""
    return [partial(_measured, ground, frameworks)]


def _measured(ground: Ground, frameworks: Sequence[Framework]) -> list[dict[str, Any]]:
    """Seconds from the start of a process to a model, and to the end of the first training step, of each phase."""
    rounds = 1 if ground.settings.budget else min(3, ground.settings.rounds)
    found: dict[str, list[tuple[float, ...]]] = {}
    for _ in range(rounds):
        for framework in frameworks:
            with alive(ground, [framework]) as group:
                times = _first_steps(group, framework.key)
            if times:
                found.setdefault(framework.key, []).append(times)
    return [_row(framework, found[framework.key]) for framework in frameworks if framework.key in found]


def _first_steps(group: Group, key: str) -> tuple[float, ...]:
    """(to the model, to the first step of head, to the first step of finetune), the last from the phase's start."""
    worker = group.workers.get(key)
    if not isinstance(worker, Worker):
        return ()
    times = [worker.startup]
    for phase in PHASES:
        try:
            first = worker.ask(do="train", phase=phase, source="resident", skip=0, steps=1)
            worker.ask(do="close")
        except WorkerError as error:
            group.drop(key, str(error))
            return ()
        times.append(first["since_request"])
    return (times[0], times[0] + times[1], times[2])


def _row(framework: Framework, times: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    model, step, finetune = (middle(values) for values in zip(*times, strict=True))
    return {
        "framework": framework.name,
        "precision": framework.precision,
        "model_seconds": model,
        "first_step_seconds": step,
        "first_finetune_step_seconds": finetune,
        "spread": spread([values[1] for values in times]),
    }
