"""Shows that ``lightning-tl predict`` takes as much memory for its last image as for its first ones.

    python scripts/predict_memory.py --paths 100000

writes a few dozen small images, gives ``predict`` their paths over and over on standard input, samples the memory
(resident set size) of its process and its loader's workers all along, and compares the median over the last fifth of
the paths with that over the first tenth. 100,000 paths take a few minutes on one core; exit status 1 if the growth is
above the limits below.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import lightning
import numpy as np
import torch
from PIL import Image

from lightning_tl import ImageFolderDataModule, TransferClassifier

IMAGES = 48
SIDE = 32
BACKBONE = "timm/mobilenetv2_035"
LIMIT, WORKERS_LIMIT = 6.0, 8.0
"""MB of growth that pass. A worker's memory makes one step of almost 4 MB in its first minute and is level then."""


def prepare(folder: Path) -> None:
    """Images of noise, and a checkpoint of random weights as ``fit`` would leave it."""
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "38.png").write_bytes(b"no image")  # to be reported again and again
    model = TransferClassifier(["a", "b", "c"], backbone=BACKBONE, weights="none", image_size=SIDE)
    content = {
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "datamodule_hyper_parameters": dict(ImageFolderDataModule("images", image_size=SIDE).hparams),
        "global_step": 0,
    }
    torch.save(content, folder / "model.ckpt")


def family(process: int) -> list[int]:
    """A process and those that it has started."""
    found = [process]
    for name in Path(f"/proc/{process}/task").glob("*/children"):
        found += [int(child) for child in name.read_text().split()]
    return found


def resident(process: int) -> float:
    """Resident memory of a process in MB; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


class Sampler(threading.Thread):
    """Samples memory five times a second, with the number of paths that the manifest says are done.

    Args:
        process: of the command.
        manifest: of its unfinished result.
    """

    def __init__(self, process: int, manifest: Path) -> None:
        super().__init__(daemon=True)
        self.process, self.manifest = process, manifest
        self.samples: list[tuple[int, float, float]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        """Until ``ended`` is set."""
        while not self.ended.wait(0.2):
            try:
                done = int(json.loads(self.manifest.read_text())["state"]["paths"])
            except (OSError, ValueError):
                continue
            sizes = [resident(process) for process in family(self.process)]
            if sizes[0]:
                self.samples.append((done, sizes[0], sum(sizes[1:])))


def measure(paths: int, output: str, workers: int) -> dict[str, float]:
    """Predict so many paths and tell what memory that took, in MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        command = [
            *(sys.executable, "-m", "lightning_tl", "predict", "-", "--ckpt_path", "model.ckpt", "--output", output),
            *("--trainer.accelerator", "cpu", "--data.batch_size", "64", "--data.num_workers", str(workers)),
        ]
        began = time.monotonic()
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            samples, told = watch(process, paths, folder / f"{output}.partial" / "manifest.json")
        if process.returncode:
            raise SystemExit(f"predict ended with {process.returncode}")
        print(told, end="")
        return {**compare(samples, paths), "paths": paths, "seconds": round(time.monotonic() - began, 1)}


def watch(process: "subprocess.Popen[bytes]", paths: int, manifest: Path) -> tuple[list[tuple[int, float, float]], str]:
    """Feed the command its paths and sample its memory to its end; the samples, and what it printed."""
    sampler = Sampler(process.pid, manifest)
    sampler.start()
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(paths):
        process.stdin.write(f"{number % IMAGES:02}.png\n".encode())
    process.stdin.close()
    told = process.stdout.read().decode()
    sampler.ended.set()
    sampler.join()
    return sampler.samples, told


def compare(samples: list[tuple[int, float, float]], paths: int) -> dict[str, float]:
    """Medians over the first tenth of the paths (or the first chunk) and over the last fifth, and the largest values.

    Medians, because what comes and goes with a batch (some 10 MB now and then) is no growth. A text of 80 bytes kept
    for each of 100,000 paths would be 7 MB of growth.
    """
    begun = [sample for sample in samples if sample[0]]
    tenth = max(paths / 10, min((sample[0] for sample in begun), default=0))
    first = [sample for sample in begun if sample[0] <= tenth]
    last = [sample for sample in begun if sample[0] > max(tenth, 0.8 * paths)]
    if not first or not last:
        raise SystemExit(f"too few samples ({len(first)} and {len(last)}): give more paths")
    growth = [median(s[place] for s in last) - median(s[place] for s in first) for place in (1, 2)]
    return {
        "samples": len(samples),
        "process_peak_mb": round(max(sample[1] for sample in begun), 1),
        "workers_peak_mb": round(max(sample[2] for sample in begun), 1),
        "growth_mb": round(growth[0], 2),
        "workers_growth_mb": round(growth[1], 2),
    }


def main() -> int:
    """Measure, print the result as JSON, and hold the growth to the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--output", default="predictions.csv", help="its suffix decides the format")
    parser.add_argument("--num_workers", type=int, default=1)
    options = parser.parse_args()
    found = measure(options.paths, options.output, options.num_workers)
    print(json.dumps({**found, "cpus": os.cpu_count()}))
    return int(found["growth_mb"] > LIMIT or found["workers_growth_mb"] > WORKERS_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
