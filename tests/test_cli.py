"""The command line, from a config to a run folder and back."""

import csv
import io
import json
import logging
import re
import resource
import runpy
import shutil
import subprocess
import sys
from collections import namedtuple
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from torchvision.io import decode_image
from training import AUGMENT, PHASES, SMALL, draw_images

from lightning_tl.command import main

ROOT = Path(__file__).parent.parent

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
        "pictures",
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
    pictures = json.loads((folder / "pictures/pictures.json").read_text())
    assert len(pictures["images"]) == 6
    assert pictures["augmented"]["columns"] == ["original", *(f"epoch {epoch}" for epoch in range(4))]


def test_the_saved_config_runs_again_and_gives_the_same_numbers_in_a_numbered_folder(
    workplace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        done = run("fit", "--config", "run/config.yaml", cwd=workplace)
    assert "max_epochs=4" in caplog.text
    assert "weights_only" not in caplog.text, "Lightning's remark on a default"
    assert done.out.strip().splitlines()[-1] == "run folder: run/run_1"
    first, second = (json.loads((workplace / path / "results.json").read_text()) for path in ("run", "run/run_1"))
    for values in (first, second):
        for phase in values["phases"]:
            del phase["images_per_second"]
    assert first == second


def test_pictures_are_left_out_when_asked(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    short_fit(tmp_path, "--pictures", "false", root="images")
    assert (tmp_path / "run/results.json").is_file()
    assert not (tmp_path / "run/pictures").exists()
    run("test", "--config", "run/config.yaml", "--ckpt_path", "best", cwd=tmp_path)


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


@pytest.mark.parametrize("options", [{"test_fraction": 0.2}, {"split": "keras"}], ids=["stratified", "keras"])
def test_the_held_out_images_are_those_of_the_run_however_its_root_is_written(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """The loss tells which images were scored: other seeds, fractions and methods hold out others."""
    draw_images(tmp_path / "images")
    checkpoint = short_fit(tmp_path, root="images", val_fraction=0.3, **options)
    loss = pytest.approx(json.loads((tmp_path / "run/results.json").read_text())["test"]["loss"], rel=1e-5)
    # The images have moved, and the checkpoint is all there is of the run.
    shutil.copytree(tmp_path / "images", tmp_path / "elsewhere/moved")
    shutil.copy(checkpoint, tmp_path / "elsewhere")
    alone = ("test", "--ckpt_path", "best.ckpt", "--data.root", "moved")
    assert in_table(run(*alone, cwd=tmp_path / "elsewhere"), "test_loss") == loss
    # New images would be divided anew; those of the run stay as its split.csv says.
    for path in (tmp_path / "images").rglob("*.png"):
        shutil.copy(path, path.with_stem(f"{path.stem}_new"))
    command = ("test", "--ckpt_path", checkpoint)
    for root in ("images", "./images", "images/", tmp_path / "images"):
        assert in_table(run(*command, "--data.root", root, cwd=tmp_path), "test_loss") == loss, root
    assert in_table(run(*command, cwd=tmp_path / "elsewhere"), "test_loss") == loss


def test_predict_takes_a_folder_of_images_after_training_on_a_torchvision_dataset(
    workplace: Path, tmp_path: Path
) -> None:
    arguments = {"size": 30, "image_size": [3, 32, 32], "num_classes": 3}
    checkpoint = short_fit(tmp_path, dataset="torchvision.datasets.FakeData", dataset_args=arguments)
    run("predict", "--ckpt_path", checkpoint, "--data.root", workplace / "images", cwd=tmp_path)
    with (tmp_path / "runs/predictions.csv").open(newline="") as stream:
        paths = {Path(row["path"]) for row in csv.DictReader(stream)}
    assert paths == set((workplace / "images").rglob("*.png"))
    # Without a root, the part of the data set that the run held out.
    run("predict", "--ckpt_path", checkpoint, cwd=tmp_path)
    with (tmp_path / "runs/run_1/predictions.csv").open(newline="") as stream:
        predicted = [row["path"] for row in csv.DictReader(stream)]
    with (tmp_path / "run/split.csv").open(newline="") as stream:
        assert predicted == [row["path"] for row in csv.DictReader(stream) if row["split"] == "val"]


def test_a_checkpoint_of_the_demo_needs_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    limits = [f"--trainer.limit_{stage}_batches=2" for stage in ("train", "val")]
    checkpoint = short_fit(tmp_path, *limits, dataset="lightning_tl.data.digits.Digits", batch_size=64)
    loss = json.loads((tmp_path / "run/results.json").read_text())["test"]["loss"]
    for command in ("validate", "test"):
        done = run(command, "--ckpt_path", checkpoint, cwd=tmp_path)
        assert in_table(done, "_loss") == pytest.approx(loss, rel=1e-5)
    run("predict", "--ckpt_path", checkpoint, cwd=tmp_path)
    assert (tmp_path / "runs/predictions.csv").is_file()


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
    assert "--model.backbon could match --model.backbone" in fails(*with_data, "--model.backbon", "x", cwd=tmp_path)
    assert "Nearest names" in fails(*with_data, "--model.backbone", "timm/mobilnetv2_100", cwd=tmp_path)
    assert "image_size" in fails(*with_data, "--data.image_size", "16", cwd=tmp_path)
    assert "no such file" in fails(*with_data, "--model.weights", "nowhere.pth", cwd=tmp_path)
    assert "no checkpoints/last.ckpt" in fails(*with_data, "--ckpt_path", "last", cwd=tmp_path)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_run_given_as_weights_is_told_how_to_take_them_out(workplace: Path, tmp_path: Path) -> None:
    checkpoint, output = workplace / "run/checkpoints/best.ckpt", tmp_path / "FILE.safetensors"
    args = ("fit", "--config", workplace / "config.yaml", "--data.root", workplace / "images")
    message = fails(*args, "--model.weights", checkpoint, cwd=tmp_path)
    (advice,) = re.findall(r"lightning-tl (export CKPT .*FILE\.safetensors)", message)
    run(*advice.replace("CKPT", str(checkpoint)).split(), cwd=tmp_path)
    run(*args, "--model.weights", output, "--trainer.fast_dev_run", "1", cwd=tmp_path)


def test_a_misspelt_config_key_is_named(workplace: Path, tmp_path: Path) -> None:
    wrong = {**CONFIG, "model": {**CONFIG["model"], "droput": 0.1}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    assert "'model.droput'" in fails("fit", "--config", "wrong.yaml", "--data.root", workplace / "images", cwd=tmp_path)
    phases = [{**PHASES[0], "epoch": 3}]
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({**CONFIG, "phases": phases}))
    message = fails("fit", "--config", "wrong.yaml", "--data.root", workplace / "images", cwd=tmp_path)
    assert "'epoch' is not accepted" in message


def test_a_full_disk_is_refused_before_training(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**30 - 2**20, 2**20))
    args = ("--config", workplace / "config.yaml", "--data.root", workplace / "images")
    message = fails("fit", *args, "--trainer.default_root_dir", "run", cwd=tmp_path)
    assert "trainer.default_root_dir: run has 1 MiB free; a run needs about" in message
    assert not (tmp_path / "run/checkpoints").exists()


def test_a_run_folder_that_cannot_be_written_is_refused_before_training(workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    args = ("--config", workplace / "config.yaml", "--data.root", workplace / "images")
    message = fails("fit", *args, "--trainer.default_root_dir", "file/run", cwd=tmp_path)
    assert "trainer.default_root_dir: the run folder file/run cannot be written" in message


def test_resuming_in_a_folder_that_cannot_be_written_is_refused_before_training(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(workplace / "run", tmp_path / "run")
    args = ("fit", "--config", workplace / "config.yaml", "--data.root", workplace / "images")
    args = (*args, "--ckpt_path", "run/checkpoints/last.ckpt")
    monkeypatch.setattr(logging, "raiseExceptions", False)  # pytest's own log is a file, too
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # permissions would not stop root
    try:
        message = fails(*args, "--model.backbone", "timm/never_looked_up", cwd=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"the run folder {tmp_path / 'run'} cannot be written" in message
    (tmp_path / "run/split.csv").unlink()
    (tmp_path / "run/split.csv").mkdir()
    message = fails(*args, cwd=tmp_path)
    assert f"the run folder {tmp_path / 'run'} cannot be written" in message
    assert "split.csv" in message


def test_the_printed_config_runs_again(workplace: Path, tmp_path: Path) -> None:
    args = ("--config", workplace / "config.yaml", "--data.root", workplace / "images")
    printed = run("fit", *args, "--data.batch_size", "7", "--print_config", cwd=tmp_path).out
    config = yaml.safe_load(printed)
    assert config["data"]["batch_size"] == 7
    assert config["weights_only"] is True
    (tmp_path / "printed.yaml").write_text(printed)
    run("fit", "--config", "printed.yaml", "--trainer.fast_dev_run", "1", cwd=tmp_path)


def test_the_script_draws_a_grid_of_augmented_images(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "grid.png"
    args = ("--config", workplace / "config.yaml", "--data.root", workplace / "images", "--output", output)
    shape = ("--samples", 2, "--epochs", 3)
    monkeypatch.setattr(sys, "argv", ["augmentation_grid.py", *map(str, (*args, *shape))])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts/augmentation_grid.py"), run_name="__main__")
    assert ended.value.code == 0
    grid = decode_image(output)
    assert grid.shape == (3, 2 * (32 + 2) + 2, 4 * (32 + 2) + 2)
    original, first = (grid[:, 2:34, left : left + 32] for left in (2, 36))
    assert not (original == first).all()


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
