"""``scripts/benchmark.py --quick`` from end to end: the form of its report and that all train alike, not the speed."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from benchmarked import command

from benchmarks.agreement import SHARED
from benchmarks.frameworks import quick
from benchmarks.joining import BLOCKS
from benchmarks.load import all_cores
from benchmarks.machine import has_bfloat16

LESS = ["--rounds", "2", "--steps", "3", "--image-size", "64", "--batch-size", "8", "--images", "48", "--files", "80"]
"""Of what the form of the report and the agreement of the losses do not depend on."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it was written to."""
    if find_spec("tensorflow") is None:  # importing it here would take seconds
        pytest.skip("tensorflow is not installed")
    folder = tmp_path_factory.mktemp("quick")
    assert command().main(["--quick", *LESS, "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def content(report: Path) -> dict[str, Any]:
    """What is in it."""
    return dict(json.loads((report / "benchmark.json").read_text()))


def test_every_framework_is_measured_everywhere(content: dict[str, Any]) -> None:
    assert content["refused"] == []
    for phase in ("head", "finetune", "predict"):
        for source in ("resident", "files"):
            rows = [row for row in content["rows"] if (row["phase"], row["source"]) == (phase, source)]
            assert {f"{row['framework']} {row['precision']}" for row in rows} == set(
                quick(has_bfloat16(content["machine"]))
            )
            assert all(row["images_per_second"] > 0 and row["ratio_to_fastest_keras"] > 0 for row in rows)


def test_all_train_alike(content: dict[str, Any]) -> None:
    assert all(verdict["passed"] for verdict in content["agreement"])
    shared = {
        (f"{verdict['framework']} {verdict['precision']}", verdict["phase"]): verdict["error"]
        for verdict in content["agreement"]
        if verdict["kind"] == "shared draws"
    }
    (reference,) = {verdict["reference"] for verdict in content["agreement"]}
    wanted = quick(has_bfloat16(content["machine"]))
    able = {key for key in wanted if not key.startswith("plain-lightning")} - {reference}
    assert shared.keys() == {(key, phase) for key in able for phase in ("head", "finetune")}
    assert all(0 < error <= SHARED[key.split()[-1]] for (key, _), error in shared.items())


def test_other_measures_are_there_or_the_time_was_spent(content: dict[str, Any]) -> None:
    """Which it is depends on the machine."""
    late = {left.get("measure") for left in content["left_out"]}
    names = {"accuracy": "time_to_accuracy"}
    several = ("scaling",) if len(all_cores()) > 1 else ()
    for measure in ("startup", "loading", "accuracy", "means", "growth", *several):
        assert content[names.get(measure, measure)] or measure in late
    assert content["validation"]
    assert set(BLOCKS) <= content.keys()


def test_it_is_written_where_it_was_asked_for(report: Path) -> None:
    assert {path.name for path in report.iterdir()} == {"benchmark.json", "benchmark.md", "benchmark.png"}
    page = (report / "benchmark.md").read_text()
    assert "## Training the head, resident" in page
    assert "stated for 2 cores, batch 32 and 160 pixels, which this run did not have" in page
