"""Frameworks measured in turn, A B C A B C, so that what the machine does in between meets all of them."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.load import all_cores, busy_seconds
from benchmarks.process import NotAnsweredError, Team, Worker, WorkerError
from benchmarks.settings import Settings

Competitor = Worker | Team


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        speed: images a second.
        losses: of its steps; empty in prediction.
        memory: peak in MiB.
        others: processor time that the idle frameworks took meanwhile, as a share of the machine.
        foreign: the same of programs that are none of ours.
        gpu_memory: peak of a GPU in MiB; None on a CPU.
    """

    speed: float
    losses: tuple[float, ...]
    memory: float
    others: float = 0.0
    foreign: float = 0.0
    gpu_memory: float | None = None


@dataclass
class Group:
    """Competitors that are alive together; one that fails is left out from then on.

    Attributes:
        workers: by key.
        failed: key to what went wrong.
    """

    workers: dict[str, Competitor] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def train(self, phase: str, source: str | Mapping[str, str], settings: Settings) -> dict[str, list[Sample]]:
        """Speeds of training, by key, a sample a round; ``source`` of all, or by key."""
        begin = {"do": "train", "phase": phase, "skip": settings.warmup, "steps": 1}
        sources = {key: source if isinstance(source, str) else source[key] for key in self.workers}
        ready = [key for key, own in sources.items() if self._try(key, {**begin, "source": own}) is not None]
        more = {"do": "more", "skip": settings.skip, "steps": settings.steps}
        samples = self._rounds(ready, more, settings.rounds)
        for key in samples:
            self._try(key, {"do": "close"})
        return samples

    def evaluate(self, what: str, source: str, settings: Settings) -> dict[str, list[Sample]]:
        """Speeds of ``predict`` or ``validate``, by key, a sample a round."""
        request = {"do": "evaluate", "what": what, "source": source, "steps": settings.steps}
        warm = {**request, "skip": settings.warmup, "steps": 1}
        ready = [key for key in list(self.workers) if self._try(key, warm) is not None]
        return self._rounds(ready, {**request, "skip": settings.skip}, settings.rounds)

    def each(self, **request: Any) -> dict[str, dict[str, Any]]:
        """One answer of each, in turn, without those that cannot."""
        answers = {key: self._try(key, request) for key in list(self.workers)}
        return {key: answer for key, answer in answers.items() if answer is not None}

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()

    def _rounds(self, keys: Sequence[str], request: dict[str, Any], rounds: int) -> dict[str, list[Sample]]:
        samples: dict[str, list[Sample]] = {key: [] for key in keys}
        for _ in range(rounds):
            for key in keys:
                if key in self.workers and (sample := self._sample(key, request)) is not None:
                    samples[key].append(sample)
        return {key: found for key, found in samples.items() if len(found) == rounds}

    def _sample(self, key: str, request: dict[str, Any]) -> Sample | None:
        cores, others = all_cores(), [worker for name, worker in self.workers.items() if name != key]
        before = (time.perf_counter(), busy_seconds(cores), _used(others), self.workers[key].cpu_seconds())
        answer = self._try(key, request)
        if answer is None:
            return None
        after = (time.perf_counter(), busy_seconds(cores), _used(others), self.workers[key].cpu_seconds())
        seconds, busy, idle, own = (late - early for late, early in zip(after, before, strict=True))
        whole = seconds * len(cores)
        return Sample(
            answer["images"] / answer["seconds"],
            tuple(answer["losses"]),
            answer["peak_memory_mb"],
            idle / whole,
            max(0.0, busy - idle - own) / whole,
            answer["peak_gpu_memory_mb"],
        )

    def _try(self, key: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, or None: where the framework does not have it, and where it fails and is left out."""
        try:
            return self.workers[key].ask(**request)
        except NotAnsweredError:
            return None
        except WorkerError as error:
            self.drop(key, str(error))
            return None

    def drop(self, key: str, reason: str) -> None:
        """Leave one out from now on."""
        print(f"left out: {reason}", file=sys.stderr)
        self.failed[key] = reason.strip().splitlines()[-1]
        self.workers.pop(key).close()


def start(make: Sequence[tuple[str, Callable[[], Competitor]]]) -> Group:
    """Start competitors, as many at once as there are cores, and wait until all are ready."""
    group, together = Group(), len(all_cores())
    for first in range(0, len(make), together):
        started = [(key, begin()) for key, begin in make[first : first + together]]
        for key, competitor in started:
            group.workers[key] = competitor
            try:
                competitor.ready()
            except WorkerError as error:
                group.drop(key, str(error))
    return group


def middle(values: Iterable[float]) -> float:
    """The median, to four digits."""
    return float(f"{median(values):.4g}")


def spread(values: Sequence[float]) -> float:
    """Largest minus smallest, as a fraction of the median."""
    return float(f"{(max(values) - min(values)) / median(values):.3g}")


def ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    """Speed over speed, round by round."""
    return [a.speed / b.speed for a, b in zip(ours, theirs, strict=True)]


def _used(workers: Iterable[Competitor]) -> float:
    return sum(worker.cpu_seconds() for worker in workers)
