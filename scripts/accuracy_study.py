"""Train one config with lightning-tl and with Keras on each backend, each in a process of its own, and compare.

Usage: python scripts/accuracy_study.py --data.root FLOWERS --model.weights keras_mobilenet_v2_0.35_224_no_top.h5

Further arguments go to every run. Writes docs/accuracy_study.json and .md; the exit status is 1 when a run strays
further than the tolerances below.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightning_tl.files import write_text

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("tensorflow", "torch", "jax")
LOSS_TOLERANCE = 1e-4
"""Relative, of each epoch's training and validation loss: float32 rounding, grown over two phases of training."""
SAME_CLASS = 0.995
"""Share of validation images with the same predicted class: the rest lie on a boundary between classes."""
LOSSES = ("train_loss", "val_loss")


def main(args: Sequence[str] | None = None) -> int:
    """Run the study; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "parity.yaml"))
    parser.add_argument("--backends", default=",".join(BACKENDS), help="of Keras, separated by commas")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder for accuracy_study.{json,md}")
    options, rest = parser.parse_known_args(args)
    with tempfile.TemporaryDirectory() as folder:
        study = run_study(options.config, options.backends.split(","), rest, Path(folder))
    write_text(options.output / "accuracy_study.json", json.dumps(study, indent=2) + "\n")
    write_text(options.output / "accuracy_study.md", as_markdown(study))
    print(as_markdown(study))
    return 0 if all(run["passed"] for run in study["runs"]) else 1


def run_study(config: str, backends: Sequence[str], rest: Sequence[str], folder: Path) -> dict[str, Any]:
    """Train ours once and Keras on each backend from the same arguments, and compare each with ours."""
    ours = train("lightning_tl", config, [*rest, "--trainer.enable_progress_bar=false"], folder / "lightning")
    runs = []
    for backend in backends:
        theirs = train("keras_ref", config, rest, folder / backend, KERAS_BACKEND=backend)
        runs.append(compare(ours, theirs))
        print(f"{backend}: {runs[-1]}", flush=True)
    result = ours["results"]
    return {
        "config": Path(config).name,
        "tolerances": {"loss": LOSS_TOLERANCE, "same_class": SAME_CLASS},
        "lightning": {"epochs": ours["epochs"], "test": result["test"], "seconds": ours["seconds"]},
        "weights_sha256": result["weights"]["sha256"],
        "versions": result["versions"],
        "runs": runs,
    }


def train(package: str, config: str, args: Sequence[str], folder: Path, **environment: str) -> dict[str, Any]:
    """One run in a process of its own; what its run folder says."""
    command = [sys.executable, "-m", package, "fit", "--config", config, "--trainer.default_root_dir", str(folder)]
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, *args],
        env={**os.environ, **quiet, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return {
        "seconds": round(time.perf_counter() - begin, 1),
        "results": json.loads((folder / "results.json").read_text()),
        "epochs": read_epochs(folder / "metrics.csv"),
        "predictions": read_predictions(folder / "predictions.csv"),
    }


def read_epochs(path: Path) -> list[dict[str, float]]:
    """Training and validation loss of each epoch; Lightning writes the two in separate rows."""
    epochs: dict[int, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            found = {name: float(row[name]) for name in LOSSES if row.get(name)}
            epochs.setdefault(int(row["epoch"]), {}).update(found)
    return [epochs[epoch] for epoch in sorted(epochs)]


def read_predictions(path: Path) -> dict[str, str]:
    """Predicted class by path."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return {row["path"]: row["predicted"] for row in csv.DictReader(stream)}


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The largest relative difference of an epoch's loss, and how many predicted classes agree."""
    if ours["predictions"].keys() != theirs["predictions"].keys() or len(ours["epochs"]) != len(theirs["epochs"]):
        raise SystemExit("the two runs saw different images or a different number of epochs")
    errors = [
        abs(mine[name] - yours[name]) / abs(yours[name])
        for mine, yours in zip(ours["epochs"], theirs["epochs"], strict=True)
        for name in LOSSES
    ]
    worst = float(np.max(errors))  # NaN where any loss is: Python's max may pass over it
    same = [ours["predictions"][path] == label for path, label in theirs["predictions"].items()]
    share = sum(same) / len(same)
    return {
        "framework": theirs["results"]["framework"],
        "epochs": theirs["epochs"],
        "loss_error": worst,
        "same_class": share,
        "images": len(same),
        "test": theirs["results"]["test"],
        "seconds": theirs["seconds"],
        "passed": worst <= LOSS_TOLERANCE and share >= SAME_CLASS,
    }


def as_markdown(study: dict[str, Any]) -> str:
    """The study as people read it."""
    lines = [
        "# Seed for seed the same run",
        "",
        f"lightning-tl and Keras, each started by its own command from one seed and `{study['config']}`. Data order,",
        "augmentation, dropout and the head's initial weights come from the definition in `randomness.md`, which each",
        "side implements on its own. Written by `scripts/accuracy_study.py`.",
        "",
        "| Keras backend | largest relative difference of a loss | same predicted class | accuracy | verdict |",
        "|---|---|---|---|---|",
    ]
    for run in study["runs"]:
        verdict = "pass" if run["passed"] else "FAIL"
        classes = f"{run['same_class']:.2%} of {run['images']}"
        lines.append(
            f"| {run['framework'].removeprefix('keras-')} | {run['loss_error']:.1e} (≤ {LOSS_TOLERANCE:.0e}) "
            f"| {classes} (≥ {SAME_CLASS:.1%}) | {run['test']['accuracy']:.4f} | {verdict} |"
        )
    lines += ["", "| epoch | loss | lightning-tl | " + " | ".join(run["framework"] for run in study["runs"]) + " |"]
    lines.append("|---" * (3 + len(study["runs"])) + "|")
    for epoch, values in enumerate(study["lightning"]["epochs"]):
        for name in LOSSES:
            theirs = " | ".join(f"{run['epochs'][epoch][name]:.6f}" for run in study["runs"])
            lines.append(f"| {epoch} | {name.removesuffix('_loss')} | {values[name]:.6f} | {theirs} |")
    versions = ", ".join(f"{name} {number}" for name, number in study["versions"].items())
    lines += ["", f"Accuracy of lightning-tl: {study['lightning']['test']['accuracy']:.4f}. Versions: {versions}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
