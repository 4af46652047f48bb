"""The command line in this process, and a finished run for it."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from training import AUGMENT, PHASES, SMALL, draw_images

from lightning_tl.command import main

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "model": {"backbone": SMALL, "weights": "none", "augment": AUGMENT},
    "data": {"image_size": 32, "batch_size": 8, "num_workers": 0},
    "phases": PHASES,
    "trainer": {"accelerator": "cpu", "enable_progress_bar": False},
}


@dataclass
class Done:
    code: int
    out: str
    err: str


def run(*args: str | Path, cwd: Path, code: int = 0) -> Done:
    """The command line with these arguments, in this process: importing torch anew takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["lightning-tl", *map(str, args)])
        try:
            status = main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
    assert status == code, out.getvalue() + err.getvalue()
    return Done(status, out.getvalue(), err.getvalue())


def fails(*args: str | Path, cwd: Path) -> str:
    """The message of a command that must fail without a traceback."""
    done = run(*args, cwd=cwd, code=2)
    assert "Traceback" not in done.err
    return done.err


def in_table(done: Done, name: str) -> float:
    """A metric that validate or test has printed."""
    line = next(line for line in done.out.splitlines() if name in line)
    return float(line.replace("│", " ").split()[-1])


def short_fit(folder: Path, *args: str, **data: Any) -> Path:
    """One epoch of the head in ``folder``/run; returns its best checkpoint."""
    config = {
        **CONFIG,
        "seed_everything": 3,
        "data": {**CONFIG["data"], **data},
        "phases": [{**PHASES[0], "epochs": 1}],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run("fit", "--config", "config.yaml", "--trainer.default_root_dir", "run", *args, cwd=folder)
    return folder / "run/checkpoints/best.ckpt"


def make_workplace(folder: Path) -> Path:
    """Images, a config, and a finished run in ``run``; returns ``folder``."""
    draw_images(folder / "images")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    words = ("--config", "config.yaml", "--data.root", "images", "--trainer.default_root_dir", "run")
    there = "tensorflow" in sys.modules  # another test of this process has brought it
    done = run("fit", *words, cwd=folder)
    *_, accuracy, run_folder = done.out.strip().splitlines()
    assert run_folder == "run folder: run"
    assert accuracy.startswith("accuracy of the best checkpoint on the val split: ")
    assert there or "tensorflow" not in sys.modules, "TensorBoard's logger must not bring TensorFlow along"
    return folder
