"""Two gloo processes train what one process trains, and say so when they no longer do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from training import PHASES, draw_images

HERE = Path(__file__).parent
TOLERANCE = {"64-true": 1e-9, "32-true": 1e-5}
"""Largest norm of the difference of a weight tensor over its norm: gradients are added in another order."""

STOPPING = [
    {**PHASES[0], "epochs": 4, "early_stopping": {"patience": 1, "min_delta": 100.0}},
    {**PHASES[1], "start_from": "best", "scheduler": "plateau", "scheduler_args": {"patience": 0}},
]
"""The first phase ends after two of its four epochs."""

RECIPE = [{**PHASES[0], "lr": 1e-3}, {**PHASES[1], "lr": 1e-5}]
"""The recipe's own learning rates: larger ones let Adam make much of a gradient that is float32's rounding alone."""

ONE, TWO = ({"strategy": "auto", "devices": 1, "batch_size": 8}, {"strategy": "ddp", "devices": 2, "batch_size": 4})
GLOBAL = {"batch_size": 8, "data": {"batch_size_is": "global"}}
SCALED = [{**PHASES[0], "lr": 5e-3, "scale_lr": "linear"}, {**PHASES[1], "lr": 5e-4, "scale_lr": "linear"}]
"""Twice these, on two devices, are the rates of PHASES."""
PLAIN = {"model": {"augment": []}, "phases": [{**PHASES[0], "epochs": 4}, {**PHASES[1], "epochs": 1}]}
KEPT = {**PLAIN, "model": {"augment": [], "cache_features": True}}
JOBS: dict[str, dict[str, Any]] = {
    "one 64-true": {**ONE},
    "two 64-true": {**TWO},
    "one 32-true": {**ONE, "precision": "32-true", "phases": RECIPE},
    "two 32-true": {**TWO, "precision": "32-true", "phases": RECIPE},
    "one stopping": {**ONE, "phases": STOPPING},
    "two stopping": {**TWO, "phases": STOPPING},
    "one accumulating": {**ONE, "trainer": {"accumulate_grad_batches": 2}},
    "two accumulating": {**TWO, "trainer": {"accumulate_grad_batches": 2}},
    "two unused": {**TWO, "strategy": "ddp_find_unused_parameters_true"},
    "two used": {**TWO, "strategy": "ddp_find_unused_parameters_false"},
    "two global": {**TWO, **GLOBAL, "keeps": True, "trainer": {"enable_checkpointing": True}},
    "two scaled": {**TWO, "phases": SCALED},
    "two scaled and global": {**TWO, **GLOBAL, "phases": SCALED},
    "one plain": {**ONE, **PLAIN},
    "one kept": {**ONE, **KEPT},
    "two kept": {**TWO, **KEPT},
    "two nudged": {**TWO, "plant": "nudge"},
    "two in one wrapper": {**TWO, "plant": "one wrapper"},
}
"""21 images for training make global batches of 8, 8 and 5; the last is padded with one. Of the 9 for validation the
last leaves the second rank with padding alone."""

COMPILED = {**TWO, "compile": "aot_eager"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("images"), count=10)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def left(images: Path, out: Path) -> dict[str, Any]:
    """What every job left, by name; all two-process jobs share one start of two processes."""
    results: dict[str, Any] = {}
    for ranks in (1, 2):
        results |= run({name: job for name, job in JOBS.items() if job["devices"] == ranks}, images, out)
    return results


def run(jobs: dict[str, dict[str, Any]], images: Path, out: Path) -> dict[str, Any]:
    """What the jobs left, by name; jobs of one call share the start of their processes."""
    spec = out / "jobs.json"
    spec.write_text(
        json.dumps([{"phases": PHASES, "root": str(images), **job, "name": name} for name, job in jobs.items()])
    )
    done = subprocess.run([sys.executable, HERE / "worker.py", spec, out], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: torch.load(out / f"{name}.pt") for name in jobs}


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    norms = [float((one[k] - other[k]).norm() / one[k].norm().clamp_min(1e-12)) for k in one if k != "head.bias"]
    scale = max(float(one["head.bias"].norm()), float(one["head.weight"].norm()))
    return max(*norms, float((one["head.bias"] - other["head.bias"]).norm()) / scale)


def test_each_wrapper_has_the_communication_hook_that_a_user_asks_for(left: dict[str, Any]) -> None:
    """Lightning gives it on CUDA alone; it is asked everywhere: for the first phase, and for the second's wrapper."""
    assert left["two 64-true"]["hooks"] == 2
    assert left["two in one wrapper"]["hooks"] == 1


@pytest.mark.parametrize("precision", ["64-true", "32-true"])
def test_two_processes_train_what_one_trains(left: dict[str, Any], precision: str) -> None:
    one, two = left[f"one {precision}"], left[f"two {precision}"]
    assert (one["world_size"], two["world_size"]) == (1, 2)
    assert difference(one["weights"], two["weights"]) <= TOLERANCE[precision]
    for ours, theirs in zip(two["epochs"], one["epochs"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5), "metrics count every sample once"


def test_the_images_of_all_devices_are_counted(left: dict[str, Any]) -> None:
    """In each of a phase's two epochs 21, and with two devices the one that the last batch is padded with."""
    one, two = ([entry["images"] for entry in left[f"{devices} 64-true"]["history"]] for devices in ("one", "two"))
    assert (one, two) == ([42, 42], [44, 44])


@pytest.mark.parametrize("name", ["stopping", "accumulating"])
def test_decisions_are_the_same_too(left: dict[str, Any], name: str) -> None:
    one, two = left[f"one {name}"], left[f"two {name}"]
    assert difference(one["weights"], two["weights"]) <= 1e-9
    assert [entry["epochs"] for entry in two["results"]] == [entry["epochs"] for entry in one["results"]] == [2, 2]


def test_every_rank_names_the_checkpoint_of_the_first(left: dict[str, Any], out: Path) -> None:
    """Which alone has chosen the run folder."""
    assert left["two global"]["error"] == ""
    told = {(out / f"two global.{rank}.txt").read_text() for rank in (0, 1)}
    assert told == {str(out / "two global of 0" / "last.ckpt")}
    assert [path.name for path in (out / "two global of 0").glob("last*")] == ["last.ckpt"]


@pytest.mark.parametrize("name", ["two unused", "two used"])
def test_other_strategies_train_the_same(left: dict[str, Any], name: str) -> None:
    assert difference(left["one 64-true"]["weights"], left[name]["weights"]) <= 1e-9


@pytest.mark.parametrize("name", ["two global", "two scaled"])
def test_batches_and_rates_are_what_was_asked_for(left: dict[str, Any], name: str) -> None:
    assert difference(left["one 64-true"]["weights"], left[name]["weights"]) <= 1e-9


@pytest.mark.parametrize("name", ["one kept", "two kept"])
def test_kept_features_train_what_computed_ones_train(left: dict[str, Any], name: str) -> None:
    plain, kept = left["one plain"], left[name]
    assert difference(plain["weights"], kept["weights"]) <= TOLERANCE["64-true"]
    for ours, theirs in zip(kept["epochs"], plain["epochs"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_rank_keeps_the_features_of_the_images_that_come_its_way(left: dict[str, Any]) -> None:
    """It gets others in every epoch, and computes those alone; validation's images stay with their rank."""
    kept, known = left["two kept"], set[int]()
    for seen, computed in zip(kept["seen"][:4], kept["computed"][:4], strict=True):
        assert computed == len(set(seen) - known)
        known |= set(seen)
    share = len(kept["seen"][0])
    assert share < len(known) <= 21, "more than its share of one epoch"
    assert kept["computed"][4] == share + 5, "the backbone trains"


def test_rates_are_not_scaled_for_a_batch_that_does_not_grow(left: dict[str, Any]) -> None:
    assert "phases: head: scale_lr is for batches that grow with the devices" in left["two scaled and global"]["error"]


@pytest.mark.slow
def test_compiled_modules_train_the_same(left: dict[str, Any], images: Path, tmp_path: Path) -> None:
    """Each wrapper is traced anew, for training and for validation: minutes."""
    compiled = run({"compiled": COMPILED}, images, tmp_path)["compiled"]
    assert difference(left["one 64-true"]["weights"], compiled["weights"]) <= 1e-9


def test_a_weight_changed_on_one_rank_stops_the_run(left: dict[str, Any]) -> None:
    error = left["two nudged"]["error"]
    assert "epoch 1" in error
    assert "head.weight (" in error
    assert "between rank 0 and rank 1" in error


def test_unfreezing_inside_the_old_wrapper_is_caught_at_the_epoch_end(left: dict[str, Any]) -> None:
    """Ranks with different data drift apart as soon as the backbone trains without an exchange of gradients."""
    error = left["two in one wrapper"]["error"]
    assert "epoch 2" in error
    assert "backbone." in error


def test_nothing_was_caught_where_nothing_was_wrong(left: dict[str, Any]) -> None:
    wrong = {"two nudged", "two in one wrapper", "two scaled and global"}
    assert {name for name, job in left.items() if job["error"]} == wrong
