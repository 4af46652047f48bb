"""``lightning-tl fit``, from a config to a run folder and from its config once more."""

import csv
import json
import logging
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from calling import CONFIG, run, short_fit
from torchvision.io import decode_image
from training import draw_images

ROOT = Path(__file__).parent.parent


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
        del values["checkpoint_sha256"]  # the file names its folder
    assert first == second


def test_fit_tells_what_it_trains_on_and_refuses_to_train_on_what_is_held_out(workplace: Path, tmp_path: Path) -> None:
    args = ("fit", "--config", workplace / "config.yaml", "--data.root", workplace / "images")
    done = run(*args, "--trainer.fast_dev_run", "1", cwd=tmp_path)
    assert done.out.splitlines()[0] == "data: 30 images of 3 classes (blue, green, red): 24 train, 6 val"
    done = run(*args, "--data.split", "all", "--model.weights", "nowhere.pth", cwd=tmp_path, code=2)
    assert "data.split: it holds every image out, for validate, test and predict. Received: all" in done.err


def test_pictures_are_left_out_when_asked(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    short_fit(tmp_path, "--pictures", "false", root="images")
    assert (tmp_path / "run/results.json").is_file()
    assert not (tmp_path / "run/pictures").exists()
    run("test", "--config", "run/config.yaml", "--ckpt_path", "best", cwd=tmp_path)


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key:UserWarning")
@pytest.mark.parametrize("without", ["checkpoints", "validation"])
def test_where_there_is_no_best_the_last_weights_are_evaluated_and_it_says_so(tmp_path: Path, without: str) -> None:
    draw_images(tmp_path / "images")
    trainer = {"enable_checkpointing": False} if without == "checkpoints" else {"limit_val_batches": 0}
    config = {"phases": [{"name": "head", "epochs": 1, "lr": 0.01}], "trainer": {**CONFIG["trainer"], **trainer}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **config}))
    words = ("--config", "config.yaml", "--data.root", "images", "--trainer.default_root_dir", "run")
    *_, accuracy, _ = run("fit", *words, cwd=tmp_path).out.strip().splitlines()
    assert accuracy.startswith("accuracy of the last weights on the val split: ")
    assert (tmp_path / "run" / "checkpoints").exists() == (without == "validation")


def test_the_seed_of_the_run_is_that_of_its_data_and_its_model(tmp_path: Path) -> None:
    """Of the order of the images and their division, and of augmentation, dropout and the head."""
    draw_images(tmp_path / "images")
    content = torch.load(short_fit(tmp_path, root="images"), weights_only=True)
    assert content["datamodule_hyper_parameters"]["seed"] == 3  # as the config of short_fit has it
    assert content["hyper_parameters"]["seed"] == 3


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
    before = {path: path.read_bytes() for path in (workplace / "run").rglob("*") if path.is_file()}
    best = ("--ckpt_path", "best", "--trainer.default_root_dir", "run", "--trainer.fast_dev_run", "1")
    run("predict", "--data.root", "images", *best, cwd=workplace)
    assert {path: path.read_bytes() for path in (workplace / "run").rglob("*") if path.is_file()} == before


def test_the_printed_config_runs_again(workplace: Path, tmp_path: Path) -> None:
    args = ("--config", workplace / "config.yaml", "--data.root", workplace / "images")
    printed = run("fit", *args, "--data.batch_size", "7", "--print_config", cwd=tmp_path).out
    config = yaml.safe_load(printed)
    assert config["data"]["batch_size"] == 7
    assert config["weights_only"] is True
    (tmp_path / "printed.yaml").write_text(printed)
    run("fit", "--config", "printed.yaml", "--trainer.fast_dev_run", "1", cwd=tmp_path)


def draw_grid(monkeypatch: pytest.MonkeyPatch, config: Path, images: Path, output: Path) -> object:
    """The script's exit code."""
    args = ("--config", config, "--data.root", images, "--output", output, "--samples", 2, "--epochs", 3)
    monkeypatch.setattr(sys, "argv", ["augmentation_grid.py", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts/augmentation_grid.py"), run_name="__main__")
    return ended.value.code


@pytest.mark.parametrize("augmented", [True, False])
def test_the_script_draws_a_grid_of_augmented_images(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, augmented: bool
) -> None:
    """Of a config without transforms, the images as they are."""
    settings = yaml.safe_load((workplace / "config.yaml").read_text())
    if not augmented:
        del settings["model"]["augment"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    output = tmp_path / "grid.png"
    assert draw_grid(monkeypatch, tmp_path / "config.yaml", workplace / "images", output) == 0
    grid = decode_image(output)
    assert grid.shape == (3, 2 * (32 + 2) + 2, 4 * (32 + 2) + 2)
    original, first = (grid[:, 2:34, left : left + 32] for left in (2, 36))
    assert (original == first).all() != augmented


def test_the_script_names_a_config_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "grid.png"
    assert draw_grid(monkeypatch, tmp_path / "none.yaml", tmp_path, output) == 2
    assert f"{tmp_path / 'none.yaml'} cannot be read: No such file" in capsys.readouterr().err
    assert not output.exists()


def test_the_script_reads_numbers_as_fit_does(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of YAML 1.2; PyYAML takes the first for text."""
    factor = "{class_path: RandomRotation, init_args: {factor: 1e-1}}"
    (tmp_path / "config.yaml").write_text(
        f"data: {{image_size: 32, val_fraction: 2e-1}}\nmodel: {{augment: [{factor}]}}\n"
    )
    output = tmp_path / "grid.png"
    assert draw_grid(monkeypatch, tmp_path / "config.yaml", workplace / "images", output) == 0
    assert output.is_file()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("data: [", "config: .*config.yaml is no valid YAML: "),
        ("", "config: .*config.yaml must map names to values. Received: "),
        ("data: [a]", r"config: data must map names to values. Received: \['a'\]"),
        ("data: {image_sice: 32}", "config: the data of .*config.yaml cannot be used: .*'image_sice'"),
        ("data:\nmodel: {augment: [{class_path: RandomFlop}]}", "augment: unknown transform 'RandomFlop'"),
    ],
)
def test_a_config_that_the_script_cannot_use_is_one_error(
    config: str,
    message: str,
    workplace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "config.yaml").write_text(config)
    assert draw_grid(monkeypatch, tmp_path / "config.yaml", workplace / "images", tmp_path / "grid.png") == 2
    assert re.match(f"augmentation_grid: error: {message}", capsys.readouterr().err)


def test_a_grid_that_cannot_be_written_is_one_error(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path("/proc/nowhere/grid.png")
    assert draw_grid(monkeypatch, workplace / "config.yaml", workplace / "images", output) == 2
    told = capsys.readouterr().err
    assert told.startswith("augmentation_grid: error: output: /proc/nowhere/grid.png cannot be written: No such file")


def test_help_says_what_is_so_here() -> None:
    """Lightning's own words are of other defaults, and of what is refused."""
    done = subprocess.run(
        [sys.executable, "-m", "lightning_tl", "fit", "--help"], capture_output=True, text=True, timeout=300, check=True
    )
    told = " ".join(done.stdout.split())
    for words in (
        "last, that of the newest run in trainer.default_root_dir",
        "left out: each phase's epochs say how long a run is",
        "refused: phases last whole epochs",
        "run_N inside it; a local path",
    ):
        assert words in told
    assert "s3://mybucket" not in told
    assert "hpc" not in told
