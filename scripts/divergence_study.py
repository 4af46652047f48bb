"""Train on two processes with Lightning's BackboneFinetuning and with PhasedFinetuning, and compare the processes.

Usage: python scripts/divergence_study.py

Writes docs/distributed.json and .md: how far the two processes' weights are apart after each epoch, and how far they
are from one process that takes the same global batches. A few minutes on a CPU; no GPU, no network. The exit status is
1 when ours are apart at all, or further from one process than the tolerances below.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.machine import describe_machine, versions  # noqa: E402 - found through the path above
from lightning_tl.files import write_text  # noqa: E402

TOLERANCES = {"64-true": 1e-9, "32-true": 1e-5}
"""Of the difference from one process: gradients of two halves of a batch are added in another order."""
GLOBAL_BATCH = 8
CALLBACKS = {"field": "BackboneFinetuning", "ours": "PhasedFinetuning"}
PACKAGES = ("lightning-tl", "torch", "lightning", "numpy")


def main(args: Sequence[str] | None = None) -> int:
    """Run the study; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs=2, default=(2, 4), help="with a frozen backbone, and after it")
    parser.add_argument("--images", type=int, default=40, help="a class")
    parser.add_argument("--precisions", nargs="+", choices=[*TOLERANCES], default=[*TOLERANCES])
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder for distributed.{json,md}")
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:
        study = run_study(options.epochs, options.images, options.precisions, Path(folder))
    write_text(options.output / "distributed.json", json.dumps(study, indent=2) + "\n")
    write_text(options.output / "distributed.md", as_markdown(study))
    print(as_markdown(study))
    return 0 if all(run["passed"] for run in study["runs"] if run["callback"] == "ours") else 1


def run_study(epochs: Sequence[int], images: int, precisions: Sequence[str], folder: Path) -> dict[str, Any]:
    """Train every callback in every precision on one process and on two."""
    draw_images(folder / "images", images)
    shared = {"root": str(folder / "images"), "epochs": list(epochs), "global_batch": GLOBAL_BATCH}
    names = [(callback, precision) for callback in CALLBACKS for precision in precisions]
    left: dict[int, list[list[dict[str, Any]]]] = {}
    for devices in (1, 2):
        jobs = [
            {**shared, "devices": devices, "callback": callback, "precision": precision, "name": f"{number}"}
            for number, (callback, precision) in enumerate(names)
        ]
        left[devices] = train(jobs, folder / f"on {devices}")
    runs = [
        compare(callback, precision, one, two)
        for (callback, precision), one, two in zip(names, left[1], left[2], strict=True)
    ]
    found = versions()
    return {
        "command": "python scripts/divergence_study.py",
        "machine": describe_machine(threads=1),
        "versions": {name: found[name] for name in PACKAGES},
        "settings": {"processes": 2, "images_a_class": images, **{k: v for k, v in shared.items() if k != "root"}},
        "tolerances": {precision: TOLERANCES[precision] for precision in precisions},
        "runs": runs,
    }


def draw_images(root: Path, count: int) -> None:
    """Images of 40x48 pixels of noise in three classes, whose colour gives the class away."""
    generator = np.random.default_rng(0)
    for label, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 120, (40, 48, 3))
            pixels[..., label] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:03}.png")


def train(jobs: list[dict[str, Any]], out: Path) -> list[list[dict[str, Any]]]:
    """Run jobs of one number of processes in one start of them; what each left, epoch by epoch."""
    out.mkdir()
    (out / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "benchmarks.divergence", str(out / "jobs.json"), str(out)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return [torch.load(out / f"{job['name']}.pt", weights_only=True) for job in jobs]


def compare(callback: str, precision: str, one: list[dict[str, Any]], two: list[dict[str, Any]]) -> dict[str, Any]:
    """Epoch by epoch: two processes against each other, and the first of them against one process."""
    epochs = [
        {
            "apart": together["apart"],
            "differing": together["differing"],
            "tensors": together["tensors"],
            "from_one": difference(alone["weights"], together["weights"]),
        }
        for alone, together in zip(one, two, strict=True)
    ]
    equal = all(epoch["differing"] == 0 and epoch["from_one"] <= TOLERANCES[precision] for epoch in epochs)
    return {"callback": callback, "precision": precision, "passed": equal, "epochs": epochs}


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest norm of the difference of a tensor over its norm; the head's bias over its weight's, being near 0.

    NaN where any weight is.
    """
    scale = {name: float(tensor.norm()) for name, tensor in one.items()}
    scale["head.bias"] = max(scale["head.bias"], scale["head.weight"])
    errors = [float((one[name] - other[name]).norm()) / max(scale[name], 1e-12) for name in one]
    return float(np.max(errors))  # Python's max may pass over a NaN


def as_markdown(study: dict[str, Any]) -> str:
    """The study as people read it."""
    settings, machine = study["settings"], study["machine"]
    frozen, after = settings["epochs"]
    lines = [
        "# Two processes, one model",
        "",
        "DDP exchanges the gradients of what was trainable when it wrapped the module. A callback that unfreezes a",
        "backbone later, as Lightning's own `BackboneFinetuning` does, changes nothing in the wrapper: each process",
        "then trains the backbone on its own share of the data, with no error and no warning (Lightning#20340).",
        "`PhasedFinetuning` wraps the module anew at each change of phase, starts a fresh optimizer, and checks after",
        "it and after each epoch that all processes hold the same trainable weights, bit for bit.",
        "",
        f"Measured with {settings['processes']} gloo processes, a global batch of {settings['global_batch']} images,",
        f"{frozen} epochs with a frozen backbone and {after} after unfreezing it; learning rates 1e-3, and 1e-5 for",
        "the backbone, as in the recipe. `BackboneFinetuning` unfreezes all layers but BatchNorm, `PhasedFinetuning`",
        "the last 20 as Keras counts. *Apart* is the largest difference of a weight tensor between the two processes,",
        "relative to its norm; *tensors* are those that differ in any bit; *from one* is the largest difference from",
        "one process that takes the same global batches.",
    ]
    for run in study["runs"]:
        lines += ["", f"## {CALLBACKS[run['callback']]}, {run['precision']}", ""]
        lines += ["| epoch | backbone | apart | tensors | from one |", "|---|---|---|---|---|"]
        for number, epoch in enumerate(run["epochs"]):
            state = "frozen" if number < frozen else "trains"
            tensors = f"{epoch['differing']} of {epoch['tensors']}"
            lines.append(f"| {number} | {state} | {epoch['apart']:.1e} | {tensors} | {epoch['from_one']:.1e} |")
    limits = ", ".join(f"{limit:.0e} in {precision}" for precision, limit in study["tolerances"].items())
    names = ", ".join(f"{name} {number}" for name, number in study["versions"].items())
    lines += [
        "",
        f"Ours may be apart by nothing, and from one process by {limits}: the same gradients, added in another",
        "order.",
        "",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, one thread a process, {machine['os']}, Python "
        f"{machine['python']}. Versions: {names}.",
        f"Written by `{study['command']}`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
