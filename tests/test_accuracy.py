"""Whole runs on real photographs, as the configs promise them. Minutes each."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def fit(config: str, folder: Path, *args: str) -> dict[str, Any]:
    """The results.json of ``lightning-tl fit --config configs/<config>.yaml``."""
    command = [sys.executable, "-m", "lightning_tl", "fit", "--config", str(ROOT / "configs" / f"{config}.yaml")]
    options = ["--trainer.default_root_dir", str(folder), "--trainer.enable_progress_bar", "false", *args]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == f"run folder: {folder}"
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


def test_demo_reaches_its_accuracy(tmp_path: Path) -> None:
    assert fit("demo", tmp_path / "run")["test"]["accuracy"] >= 0.95


def test_flowers(assets: Path, tmp_path: Path) -> None:
    weights = str(assets / "weights" / "mobilenet_v2-b0353104.pth")
    args = ("--data.root", str(assets / "data" / "flowers"), "--model.weights", weights)
    head, finetune = fit("flowers", tmp_path / "run", *args)["phases"]
    assert head["val_accuracy"] >= 0.88
    assert finetune["val_accuracy"] >= head["val_accuracy"] - 0.01


def test_hymenoptera(assets: Path, tmp_path: Path) -> None:
    weights = str(assets / "weights" / "mobilenet_v2-b0353104.pth")
    args = ("--data.root", str(assets / "data" / "hymenoptera"), "--model.weights", weights)
    assert fit("folder", tmp_path / "run", *args)["phases"][-1]["val_accuracy"] >= 0.88
