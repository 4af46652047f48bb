"""One process and several: what training together costs and brings."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.gpu import describe_gpus
from benchmarks.load import all_cores
from benchmarks.prepare import Ground
from benchmarks.process import Team, Worker
from benchmarks.rounds import Sample, middle, ratios, spread, start
from benchmarks.settings import PHASES, Settings

Layout = tuple[int, int]
"""Processes, and threads of each."""


def scaling(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """In one piece; see ``_measured``. Nothing where the machine has too few cores or GPUs for two processes."""
    chosen = [f for f in frameworks if f.family == "lightning-tl" and f.precision == "float32"][:1]
    settings = ground.settings
    layouts = (
        on_gpus(settings.threads, describe_gpus()["count"]) if settings.accelerator == "gpu" else on_cores(settings)
    )
    possible = [(world, threads) for world, threads in layouts if world * threads <= len(all_cores())]
    return [
        partial(_measured, ground, framework, possible)
        for framework in chosen
        if any(world > 1 for world, _ in possible)
    ]


def on_cores(settings: Settings) -> list[Layout]:
    """One process with all threads, one with half of them, and two with half each."""
    half = max(1, settings.threads // 2)
    return list(dict.fromkeys([(1, settings.threads), (1, half), (2, half)]))


def on_gpus(threads: int, count: int) -> list[Layout]:
    """One process a GPU, on 1, 2, 4 ... of them and on all, which share the threads."""
    worlds = sorted({count, *(2**power for power in range(count.bit_length()) if 2**power <= count)})
    return [(world, max(1, threads // world)) for world in worlds]


def _measured(ground: Ground, framework: Framework, layouts: Sequence[Layout]) -> list[dict[str, Any]]:
    """lightning-tl in each layout; the first is what the others are compared with."""
    group = start([(_name(layout), partial(_team, ground, framework, *layout)) for layout in layouts])
    try:
        samples = {phase: group.train(phase, "resident", ground.settings) for phase in PHASES}
    finally:
        group.close()
    return [
        _row(framework, phase, layout, found[_name(layout)], found.get(_name(layouts[0]), ()))
        for phase, found in samples.items()
        for layout in layouts
        if _name(layout) in found
    ]


def _name(layout: Layout) -> str:
    return f"{layout[0]} x {layout[1]}"


def _row(
    framework: Framework, phase: str, layout: Layout, samples: Sequence[Sample], base: Sequence[Sample]
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
