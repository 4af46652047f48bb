"""scripts/divergence_study.py, small: the field's callback lets two processes drift apart, ours does not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
            assert max(epoch["from_one"] for epoch in run["epochs"]) <= study["tolerances"][run["precision"]]
