"""``kill -9`` at twenty moments that nobody chose."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from forked import Process, Run, Starter, check_same_run

KILLS = 20


def start(run: Run) -> Process:
    """A process of the run that is just about to train: TensorBoard's files bear its number."""
    process, patience = run.starter.start(*run.command()), time.monotonic() + 300
    while not any(run.folder.glob(f"events.*.{process.pid}.*")):
        assert time.monotonic() < patience, process.output[-4000:]
        time.sleep(0.01)
    return process


def phase(run: Run) -> int:
    """Of the last checkpoint; the first where there is none."""
    path = run.folder / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["callbacks"]["PhasedFinetuning"]["index"] if path.is_file() else 0


def kill(run: Run, delay: float) -> bool:
    """One process, killed ``delay`` seconds after it began; whether that was before its end."""
    process = start(run)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    code = process.ended()
    assert code in (0, -signal.SIGKILL), process.output[-4000:]
    return code != 0


@pytest.mark.slow
def test_killed_at_twenty_random_moments_of_both_phases(starter: Starter, whole: Path) -> None:
    """Each run is killed up to seven times, then let go to its end."""
    begun, moments = time.monotonic(), random.Random(0)
    start(Run(starter, "measured")).ended()
    longest, phases = time.monotonic() - begun, []
    while len(phases) < KILLS:
        run = Run(starter, f"random after {len(phases)}")
        for _ in range(7):
            # Now long, now short: with long delays alone a run is soon in its second phase and stays there.
            if not kill(run, moments.uniform(0, longest) * moments.choice((1 / 2, 1 / 8))):
                break
            phases.append(phase(run))
        run.process()
        check_same_run(run.folder, whole)
    assert {0, 1} <= set(phases), "both phases were killed"
