"""The command line, from a config to a run folder and back."""

import csv
import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from training import AUGMENT, PHASES, SMALL, draw_images

from lightning_tl.cli import main

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


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a config, and a finished run in ``run``."""
    folder = tmp_path_factory.mktemp("cli")
    draw_images(folder / "images")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    done = run(
        "fit",
        "--config",
        "config.yaml",
        "--data.root",
        "images",
        "--trainer.default_root_dir",
        "run",
        cwd=folder,
    )
    *_, accuracy, run_folder = done.out.strip().splitlines()
    assert run_folder == "run folder: run"
    assert accuracy.startswith("accuracy of the best checkpoint on the val split: ")
    assert "tensorflow" not in sys.modules, "TensorBoard's logger must not bring TensorFlow along"
    return folder


def test_fit_leaves_a_whole_run_folder(workplace: Path) -> None:
    folder = workplace / "run"
    names = {path.name for path in folder.iterdir()}
    files = {
        "config.yaml",
        "checkpoints",
        "metrics.csv",
        "predictions.csv",
        "confusion_matrix.png",
        "results.json",
    }
    assert files | {"split.csv"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    results = json.loads((folder / "results.json").read_text())
    assert [(phase["name"], phase["epochs"]) for phase in results["phases"]] == [("head", 2), ("finetune", 2)]
    assert results["test"]["split"] == "val"
    assert results["classes"] == ["blue", "green", "red"]
    with (folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6
    hits = [row["label"] == row["predicted"] for row in rows]
    assert sum(hits) / len(hits) == results["test"]["accuracy"]


def test_the_saved_config_runs_again_and_gives_the_same_numbers_in_a_numbered_folder(workplace: Path) -> None:
    done = run("fit", "--config", "run/config.yaml", cwd=workplace)
    assert done.out.strip().splitlines()[-1] == "run folder: run/run_1"
    first, second = (json.loads((workplace / path / "results.json").read_text()) for path in ("run", "run/run_1"))
    for values in (first, second):
        for phase in values["phases"]:
            del phase["images_per_second"]
    assert first == second


def test_predict_needs_a_checkpoint_and_images_and_nothing_else(workplace: Path, tmp_path: Path) -> None:
    checkpoint = workplace / "run/checkpoints/best.ckpt"
    run("predict", "--ckpt_path", checkpoint, "--data.root", workplace / "images", cwd=tmp_path)
    with (tmp_path / "runs" / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 30
    assert {row["split"] for row in rows} == {"predict"}
    text = (workplace / "run/predictions.csv").read_text()
    held_out = {row["path"]: row for row in csv.DictReader(io.StringIO(text))}
    same = [row for row in rows if Path(row["path"]).relative_to(workplace / "images").as_posix() in held_out]
    assert len(same) == 6
    for row in same:
        known = held_out[Path(row["path"]).relative_to(workplace / "images").as_posix()]
        assert float(row["probability_red"]) == pytest.approx(float(known["probability_red"]), abs=1e-5)


@pytest.mark.parametrize("command", ["validate", "test"])
def test_validate_and_test_use_the_split_of_the_run(workplace: Path, command: str) -> None:
    done = run(command, "--ckpt_path", "run/checkpoints/best.ckpt", cwd=workplace)
    results = json.loads((workplace / "run/results.json").read_text())
    stage = "val" if command == "validate" else "test"
    line = next(line for line in done.out.splitlines() if f"{stage}_accuracy" in line)
    assert float(line.replace("│", " ").split()[-1]) == pytest.approx(results["test"]["accuracy"], abs=1e-6)
    # the whole config is accepted too
    run(command, "--config", "run/config.yaml", "--ckpt_path", "best", cwd=workplace)


def test_the_module_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightning_tl", "test"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("lightning-tl: error: ckpt_path: a trained model is needed")


def test_fast_dev_run_leaves_nothing_behind(workplace: Path, tmp_path: Path) -> None:
    args = (
        "--config",
        workplace / "config.yaml",
        "--data.root",
        workplace / "images",
        "--trainer.fast_dev_run",
        "1",
    )
    run("fit", *args, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_message_without_traceback(workplace: Path, tmp_path: Path) -> None:
    base = ("fit", "--config", workplace / "config.yaml", "--trainer.default_root_dir", tmp_path / "run")
    with_data = (*base, "--data.root", workplace / "images")
    assert "data.root" in fails(*base, "--data.root", tmp_path / "nowhere", cwd=tmp_path)
    assert "phases: none given" in fails(*with_data, "--phases", "[]", cwd=tmp_path)
    assert "backbon" in fails(*with_data, "--model.backbon", "x", cwd=tmp_path)
    assert "Nearest names" in fails(*with_data, "--model.backbone", "timm/mobilnetv2_100", cwd=tmp_path)
    assert "image_size" in fails(*with_data, "--data.image_size", "16", cwd=tmp_path)
    assert "no such file" in fails(*with_data, "--model.weights", "nowhere.pth", cwd=tmp_path)
    assert "no checkpoints/last.ckpt" in fails(*with_data, "--ckpt_path", "last", cwd=tmp_path)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_misspelt_config_key_is_named(workplace: Path, tmp_path: Path) -> None:
    wrong = {**CONFIG, "model": {**CONFIG["model"], "droput": 0.1}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    assert "droput" in fails("fit", "--config", "wrong.yaml", "--data.root", workplace / "images", cwd=tmp_path)
    phases = [{**PHASES[0], "epoch": 3}]
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({**CONFIG, "phases": phases}))
    assert "epoch" in fails("fit", "--config", "wrong.yaml", "--data.root", workplace / "images", cwd=tmp_path)


def test_a_checkpoint_of_other_classes_is_refused(workplace: Path, tmp_path: Path) -> None:
    draw_images(tmp_path / "others", ("cat", "dog"))
    checkpoint = workplace / "run/checkpoints/best.ckpt"
    message = fails("test", "--ckpt_path", checkpoint, "--data.root", tmp_path / "others", cwd=tmp_path)
    assert "the checkpoint knows the classes blue, green, red" in message
    args = (
        "--config",
        workplace / "config.yaml",
        "--data.root",
        tmp_path / "others",
        "--ckpt_path",
        checkpoint,
    )
    assert "the checkpoint knows the classes blue, green, red" in fails("fit", *args, cwd=tmp_path)
