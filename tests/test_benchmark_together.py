"""Which processes of the benchmark are alive at once, so that they are measured in the same rounds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarked import TINY, made_up_ground

from benchmarks import loading as from_files
from benchmarks import means as of_means
from benchmarks.frameworks import FRAMEWORKS, Framework
from benchmarks.loading import loading
from benchmarks.means import MEANS, means
from benchmarks.rounds import Sample

Found = dict[str, list[Sample]]


class Measured:
    """Stands in for live processes: each is as fast as ``speed`` says, and ``asked`` is who was there and for what."""

    def __init__(self, speed: Callable[[Framework], float]) -> None:
        self._speed = speed
        self.asked: list[tuple[tuple[str, ...], Any]] = []

    @contextmanager
    def __call__(self, ground: Any, frameworks: Sequence[Framework]) -> Iterator["Measured"]:
        self._there = {framework.key: framework for framework in frameworks}
        options = [(framework.precision, framework.options) for framework in frameworks]
        assert all(options.count(one) == 1 for one in options), "one process is enough"
        yield self

    def train(self, phase: str, source: Any, settings: Any) -> Found:
        self.asked.append((tuple(self._there), source))
        return {key: [Sample(self._speed(framework), (), 100.0)] for key, framework in self._there.items()}


def rows(
    part: Any, accelerator: str, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> list[list[dict[str, Any]]]:
    """Those of each piece of a measure."""
    for module in (from_files, of_means):
        monkeypatch.setattr(module, "alive", measured)
    ground = made_up_ground(replace(TINY, accelerator=accelerator), Path())
    return [piece() for piece in part(ground, FRAMEWORKS)]


def test_files_are_measured_from_disk_and_on_a_gpu_from_its_own_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {None: 100.0, "disk": 90.0, "device": 99.0}
    measured = Measured(lambda framework: speeds[framework.options.get("cache")])
    found = rows(loading, "cpu", measured, monkeypatch)
    assert [[(row["precision"], row["phase"], row["cache"], row["fraction"]) for row in piece] for piece in found] == [
        [(precision, phase, "disk", 0.9) for phase in ("head", "finetune")] for precision in ("mixed", "float32")
    ]
    assert all(set(row["rounds"]) == {0.9} for piece in found for row in piece)
    (one,) = rows(loading, "gpu", measured, monkeypatch)
    assert {(row["precision"], row["phase"], row["cache"], row["fraction"]) for row in one} == {
        (precision, phase, cache, speeds[cache] / 100)
        for precision in ("float32", "mixed")
        for phase in ("head", "finetune")
        for cache in ("disk", "device")
    }
    there, sources = measured.asked[-1]
    assert sorted(sources[key] for key in there) == ["files"] * 4 + ["resident"] * 2


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_each_of_the_means_is_held_against_lightning_tl_with_all_that_it_needs(
    accelerator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {mean.name: mean for mean in MEANS}

    def speed(framework: Framework) -> float:
        return 1.0 + len({key: value for key, value in framework.options.items() if key != "compile"})

    measured = Measured(speed)
    pieces = rows(means, accelerator, measured, monkeypatch)
    found = [row for piece in pieces for row in piece]
    wanted = [(mean.name, phase) for mean in MEANS if accelerator in mean.on for phase in mean.phases]
    assert sorted((row["means"], row["phase"]) for row in found) == sorted(wanted)
    assert ("where all layers train: BatchNorm as a scale of the kernel", "head") not in wanted, "none trains there"
    for row in found:
        mean = named[row["means"]]
        assert row["gain"] == pytest.approx((1 + len(mean.needs)) / (1 + len(mean.off)), rel=1e-3)
    if accelerator == "gpu":
        assert len(pieces) == 3, "resident, files, and without augmentation: a start of processes costs half a minute"
