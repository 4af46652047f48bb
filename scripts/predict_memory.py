"""Shows that ``lightning-tl predict`` takes as much memory for its last image as for its first ones.

    python scripts/predict_memory.py --paths 100000

writes a few dozen small images, gives ``predict`` their paths over and over on standard input, samples the memory
(resident set size) of its process and its loader's workers all along, and compares the largest value of the last 90 %
with the largest of the first 10 %. 100,000 paths take a few minutes on one core; exit status 1 if the growth is above
--limit_mb.
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

import lightning
import numpy as np
import torch
from PIL import Image

from lightning_tl import ImageFolderDataModule, TransferClassifier

IMAGES = 48
SIDE = 32
BACKBONE = "timm/mobilenetv2_035"


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
    """The largest values before and after a tenth of the paths (or the first chunk of them), and their difference."""
    begun = [sample for sample in samples if sample[0]]
    tenth = max(paths / 10, min((sample[0] for sample in begun), default=0))
    first = [sample for sample in begun if sample[0] <= tenth]
    rest = [sample for sample in begun if sample[0] > tenth]
    if not first or not rest:
        raise SystemExit(f"too few samples ({len(first)} and {len(rest)}): give more paths")
    peaks = [(max(s[1] for s in part), max(s[2] for s in part)) for part in (first, rest)]
    return {
        "samples": len(samples),
        "process_mb": round(peaks[1][0], 1),
        "workers_mb": round(peaks[1][1], 1),
        "growth_mb": round(peaks[1][0] - peaks[0][0], 2),
        "workers_growth_mb": round(peaks[1][1] - peaks[0][1], 2),
    }


def main() -> int:
    """Measure, print the result as JSON, and hold the growth to the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--output", default="predictions.csv", help="its suffix decides the format")
    parser.add_argument("--num_workers", type=int, default=1)
    parser.add_argument("--limit_mb", type=float, default=8.0)
    options = parser.parse_args()
    found = measure(options.paths, options.output, options.num_workers)
    print(json.dumps({**found, "cpus": os.cpu_count()}))
    return int(max(found["growth_mb"], found["workers_growth_mb"]) > options.limit_mb)


if __name__ == "__main__":
    sys.exit(main())
