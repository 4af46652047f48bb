"""Runs of the command line that are killed and started again, and what two equal runs have in common."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from commands import ONE_THREAD, read_results

from lightning_tl.logger import leave_out_tensorflow

STARTER = Path(__file__).parent / "resume" / "starter.py"
OURS = ("SLURM_", "MASTER_", "LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE")
INCIDENTAL = {"seconds", "current_score", "split", "num_workers", "cache"}
"""What may differ between checkpoints: training time, what Lightning keeps and does not read, how the split was named,
how many processes read the images."""


@dataclass
class Process:
    """One forked process of the command line."""

    starter: "Starter"
    pid: int
    log: Path

    def ended(self) -> int:
        """Wait for it; its exit status, or minus the signal that killed it."""
        return int(self.starter.ask({"wait": self.pid}))

    @property
    def output(self) -> str:
        """Without what triton says at the end of a process whose garbage was frozen."""
        return self.log.read_text().partition("nanobind: leaked")[0]


class Starter:
    """Starts processes of the command line without importing torch in each; see ``resume/starter.py``."""

    def __init__(self, folder: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, STARTER],
            env={**environment, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: Mapping[str, Any]) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the starter has ended; its message is above"
        return answer

    def start(
        self,
        *argv: str | Path,
        moment: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        self.count += 1
        log = self.folder / f"{self.count}.log"
        job = {"argv": [str(part) for part in argv], "cwd": str(self.folder), "log": str(log)}
        answer = self.ask({**job, "moment": dict(moment or {}), "environment": dict(environment or {})})
        return Process(self, int(answer), log)

    def close(self) -> None:
        """Close its standard input, at which it ends."""
        self.process.communicate(timeout=60)


@dataclass
class Run:
    """One run of a config, in as many processes one after the other as its end takes.

    Attributes:
        starter: of its processes.
        root: ``default_root_dir``, relative to the starter's folder.
        options: further arguments of each command.
    """

    starter: Starter
    root: str
    options: Sequence[str] = ()
    outputs: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Of the newest attempt: one that was killed before its first checkpoint is left behind."""
        root = self.starter.folder / self.root
        return max((root, *root.glob("run_*")), key=lambda path: 0 if path == root else int(path.name[4:]))

    def command(self, *options: str) -> tuple[str, ...]:
        """From the last checkpoint, if there is one."""
        root = self.starter.folder / self.root
        found = [*root.glob("checkpoints/last.ckpt"), *root.glob("run_*/checkpoints/last.ckpt")]
        resume = ("--ckpt_path", "last") if found else ()
        return (
            "fit",
            "--config",
            "config.yaml",
            "--trainer.default_root_dir",
            self.root,
            *resume,
            *self.options,
            *options,
        )

    def process(self, *options: str, code: int = 0, **start: Any) -> str:
        """One process, which must end with ``code``; what it printed."""
        process = self.starter.start(*self.command(*options), **start)
        ended = process.ended()
        self.outputs.append(process.output)
        assert ended == code, f"ended with {ended}:\n{process.output[-4000:]}"
        return process.output


def at(hook: str, epoch: int, batch: int = 0, **options: Any) -> tuple[str, str]:
    """The option that plants ``moments.At`` in a process of the starter."""
    arguments = {"hook": hook, "epoch": epoch, "batch": batch, **options}
    return "--trainer.callbacks", json.dumps([{"class_path": "moments.At", "init_args": arguments}])


def check_same_run(run: Path, expected: Path) -> None:
    """Everything that a run leaves is bit for bit the same, but for what the clock has a part in."""
    for name in ("predictions.csv", "metrics.csv", "split.csv"):
        assert (run / name).read_text() == (expected / name).read_text(), name
    assert read_results(run) == read_results(expected)
    for name in ("best.ckpt", "last.ckpt"):
        ours, theirs = (torch.load(path / "checkpoints" / name, weights_only=True) for path in (run, expected))
        found = differences(ours, theirs)
        assert not found, f"{name}: {found}"
    assert curves(run) == curves(expected)
    assert not list(run.glob("checkpoints/.*")), "nothing half written is left behind"


def differences(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Where two checkpoints differ, in more than what is incidental and the folders of their runs."""
    if type(ours) is not type(theirs):
        return [f"{place}: {type(ours).__name__} or {type(theirs).__name__}"]
    if isinstance(ours, torch.Tensor):
        return [] if torch.equal(ours, theirs) and ours.dtype == theirs.dtype else [place]
    if isinstance(ours, dict | list | tuple):
        one, other = elements(ours), elements(theirs)
        if one.keys() != other.keys():
            return [f"{place}: {sorted(map(str, one.keys() ^ other.keys()))}"]
        return [found for key in one for found in differences(one[key], other[key], f"{place}/{key}")]
    return [] if without_folder(ours) == without_folder(theirs) else [f"{place}: {ours} or {theirs}"]


def elements(values: Any) -> dict[Any, Any]:
    items = values.items() if isinstance(values, dict) else enumerate(values)
    return {without_folder(key): value for key, value in items if key not in INCIDENTAL}


def without_folder(value: Any) -> Any:
    return value.rpartition("/checkpoints")[2] if isinstance(value, str) else value


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars that TensorBoard shows, by tag: step and value."""
    leave_out_tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorBoard's own imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(run)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
