"""The command line in processes of its own, for tests."""

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from training import AUGMENT, PHASES, SMALL, draw_images

COMMAND = (sys.executable, "-m", "lightning_tl")
NINE_EACH = {"val_fraction": 3 / 13, "test_fraction": 3 / 13}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def write_workplace(folder: Path, count: int = 13, **config: Any) -> None:
    """Images and a config in ``folder``; global batches of 8.

    Of 39 images 21 are for training and 9 each for validation and testing: no number that two ranks divide, and
    the last batch of an evaluation leaves the second rank with padding alone.
    """
    draw_images(folder / "images", count=count)
    whole = {
        "seed_everything": 0,
        "model": {"backbone": SMALL, "weights": "none", "augment": AUGMENT},
        "data": {"root": "images", "image_size": 32, "batch_size": 8, "num_workers": 0, **NINE_EACH},
        "phases": PHASES,
        "trainer": {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
        **config,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(whole))


def start(command: Sequence[Any], cwd: Path, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start a command in ``cwd``; nothing of a surrounding job reaches it."""
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "LOCAL_RANK", "WORLD_SIZE"))}
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**outside, **ONE_THREAD, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: "subprocess.Popen[str]", code: int = 0, timeout: float = 600) -> list[str]:
    """Wait so many seconds for each and give what it printed; it must end with ``code``."""
    outputs = []
    for process in processes:
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == code, err[-4000:]
        outputs.append(out + err)
    return outputs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def slurm_tasks() -> list[dict[str, str]]:
    """The variables that ``srun`` sets for two tasks on two nodes, which here are one machine."""
    job = {
        "SLURM_JOB_ID": "1234",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "2",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_LOCALID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    return [{**job, "SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)} for rank in range(2)]


def read_results(run: Path) -> dict[str, Any]:
    """results.json without what depends on the clock, and on the folder, which checkpoints name."""
    values: dict[str, Any] = json.loads((run / "results.json").read_text())
    for phase in values["phases"]:
        del phase["images_per_second"]
    del values["checkpoint_sha256"]
    return values


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def check_same_run(two: Path, one: Path) -> None:
    """The run folder is that of one process, up to the order of float32 sums."""
    for ours, theirs in zip(read_results(two)["phases"], read_results(one)["phases"], strict=True):
        assert ours["name"] == theirs["name"]
        assert [ours[key] for key in sorted(ours) if key != "name"] == pytest.approx(
            [theirs[key] for key in sorted(theirs) if key != "name"], rel=1e-4
        )
    ours, theirs = (read_rows(folder / "predictions.csv") for folder in (two, one))
    texts = [[row[key] for key in ("split", "path", "label", "predicted")] for row in ours]
    assert texts == [[row[key] for key in ("split", "path", "label", "predicted")] for row in theirs]
    assert read_results(two)["test"]["accuracy"] == read_results(one)["test"]["accuracy"]
    assert len(ours) == 18, "9 images for validation and 9 for testing, each once"
    assert (two / "confusion_matrix.png").read_bytes() == (one / "confusion_matrix.png").read_bytes()
    check_same_curves(two / "metrics.csv", one / "metrics.csv")
    check_same_pictures(two / "pictures", one / "pictures")
    assert not (two / "run_1").exists(), "only the first rank chooses the run folder"


def check_same_pictures(ours: Path, theirs: Path) -> None:
    """The same files, byte for byte; how confident a mistake is may differ in the last digit, and so their order."""
    mine, yours = (json.loads((folder / "pictures.json").read_text()) for folder in (ours, theirs))
    assert mine == yours
    assert len(mine["images"]) == 18
    for path in (mine["augmented"]["file"], *mine["images"].values()):
        assert (ours / path).read_bytes() == (theirs / path).read_bytes()


def check_same_curves(ours: Path, theirs: Path) -> None:
    """Loss, accuracy and F1 of every epoch; shares of 9 or 21 images are equal or far apart."""
    for mine, yours in zip(read_rows(ours), read_rows(theirs), strict=True):
        assert {key: value == "" for key, value in mine.items()} == {key: value == "" for key, value in yours.items()}
        numbers = [key for key, value in yours.items() if value]
        assert {"val_f1", "val_accuracy", "train_f1", "train_accuracy"} & set(numbers)
        assert [float(mine[key]) for key in numbers] == pytest.approx([float(yours[key]) for key in numbers], rel=1e-4)
