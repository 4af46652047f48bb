"""One process and two: what training together costs and brings."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.load import all_cores
from benchmarks.prepare import Ground
from benchmarks.process import Team, Worker
from benchmarks.rounds import Sample, middle, ratios, spread, start
from benchmarks.settings import PHASES


def scaling(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """In one piece; see ``_measured``. Nothing where the machine has too few cores for two processes."""
    chosen = [f for f in frameworks if f.family == "lightning-tl" and f.precision == "float32"][:1]
    enough = 2 * max(1, ground.settings.threads // 2) <= len(all_cores())
    return [partial(_measured, ground, framework) for framework in chosen if enough]


def _measured(ground: Ground, framework: Framework) -> list[dict[str, Any]]:
    """lightning-tl on one process with all threads, on one with half of them, and on two with half each."""
    threads = ground.settings.threads
    half = max(1, threads // 2)
    layouts = dict.fromkeys([(1, threads), (1, half), (2, half)])
    group = start([(_name(layout), partial(_team, ground, framework, *layout)) for layout in layouts])
    try:
        samples = {phase: group.train(phase, "resident", ground.settings) for phase in PHASES}
    finally:
        group.close()
    return [
        _row(framework, phase, layout, found[_name(layout)], found.get(_name((1, threads)), ()))
        for phase, found in samples.items()
        for layout in layouts
        if _name(layout) in found
    ]


def _name(layout: tuple[int, int]) -> str:
    return f"{layout[0]} x {layout[1]}"


def _row(
    framework: Framework, phase: str, layout: tuple[int, int], samples: Sequence[Sample], base: Sequence[Sample]
) -> dict[str, Any]:
    speeds = [sample.speed for sample in samples]
    return {
        "framework": framework.name,
        "precision": framework.precision,
        "phase": phase,
        "processes": layout[0],
        "threads_each": layout[1],
        "images_per_second": middle(speeds),
        "spread": spread(speeds),
        "ratio_to_one_process": middle(ratios(samples, base)) if base else None,
    }


def _team(ground: Ground, framework: Framework, world: int, threads: int) -> Team:
    """``world`` processes with ``threads`` each, on cores of their own."""
    member = replace(framework, settings={**framework.settings, "threads": threads})
    cores, port = all_cores(), _free_port()
    workers = [
        Worker(
            ground.job(
                member,
                cores=cores[rank * threads : (rank + 1) * threads],
                environment=_rank(rank, world, port) if world > 1 else {},
                world=world,
            )
        )
        for rank in range(world)
    ]
    return Team(workers)


def _rank(rank: int, world: int, port: int) -> dict[str, str]:
    """What tells Lightning that the processes exist already."""
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
