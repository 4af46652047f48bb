"""scripts/divergence_study.py, small: the field's callback lets two processes drift apart, ours does not."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.divergence import Apart

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "divergence_study.py"
SMALL = ("--epochs", "1", "1", "--images", "20", "--precisions", "64-true")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the script has written to."""
    folder = tmp_path_factory.mktemp("study")
    command = [sys.executable, SCRIPT, *SMALL, "--output", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def runs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Epochs by callback."""
    study = json.loads((folder / "distributed.json").read_text())
    return {run["callback"]: run["epochs"] for run in study["runs"] if run["precision"] == "64-true"}


@pytest.mark.slow  # four runs of two processes; that ours stays together is tested in test_ddp, too
def test_the_fields_callback_diverges_and_ours_does_not(written: Path) -> None:
    found = runs(written)
    frozen, trains = found["field"]
    assert (frozen["apart"], frozen["differing"]) == (0, 0)
    assert frozen["from_one"] <= 1e-9
    assert trains["differing"] > 20
    assert min(trains["apart"], trains["from_one"]) > 1e-6
    for epoch in found["ours"]:
        assert (epoch["apart"], epoch["differing"]) == (0, 0)
        assert epoch["from_one"] <= 1e-9


def test_the_page_in_docs_says_the_same() -> None:
    """It was written by the script, whole, and no epoch in it contradicts what it claims."""
    study = json.loads((ROOT / "docs" / "distributed.json").read_text())
    page = (ROOT / "docs" / "distributed.md").read_text()
    frozen = study["settings"]["epochs"][0]
    assert {run["precision"] for run in study["runs"]} == {"64-true", "32-true"}
    for run in study["runs"]:
        for number, epoch in enumerate(run["epochs"]):
            assert f"| {epoch['apart']:.1e} | {epoch['differing']} of {epoch['tensors']} |" in page
            assert (epoch["differing"] == 0) == (run["callback"] == "ours" or number < frozen)
        if run["callback"] == "ours":
            assert all(epoch["from_one"] <= study["tolerances"][run["precision"]] for epoch in run["epochs"])


def test_weights_that_are_no_numbers_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they are: of numbers and a NaN, Python's max may be a number."""
    monkeypatch.setattr(sys, "path", list(sys.path))  # the script adds to it
    spec = importlib.util.spec_from_file_location("divergence_study", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    names = ("first", "head.bias", "head.weight")
    sound = {name: torch.ones(2) for name in names}
    assert study.difference(sound, sound) == 0
    for name in names:
        broken = {**sound, name: torch.tensor([1.0, torch.nan])}
        assert not study.difference(sound, broken) <= 1
        assert not study.difference(broken, sound) <= 1
        model = nn.ParameterDict({key.replace(".", "_"): nn.Parameter(value) for key, value in broken.items()})
        apart = Apart()
        apart.on_train_epoch_end(SimpleNamespace(world_size=1), model)  # type: ignore[arg-type]
        assert not apart.epochs[0]["apart"] <= 1
