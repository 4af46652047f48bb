"""Processes of several frameworks, for the length of a block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from benchmarks.frameworks import Framework
from benchmarks.prepare import Ground
from benchmarks.process import Worker
from benchmarks.rounds import Group, start


@contextmanager
def alive(ground: Ground, frameworks: Sequence[Framework]) -> Iterator[Group]:
    """Start the frameworks' processes; end them with the block."""
    group = start([(framework.key, partial(_begin, ground, framework)) for framework in frameworks])
    try:
        yield group
    finally:
        group.close()


def _begin(ground: Ground, framework: Framework) -> Worker:
    return Worker(ground.job(framework))
