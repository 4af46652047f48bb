"""What cannot work is refused in one message, before training."""

import logging
import re
import resource
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from calling import CONFIG, fails, run
from training import PHASES, draw_images


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


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
@pytest.mark.parametrize("option", ["--data.root", "--trainer.default_root_dir", "--ckpt_path"])
def test_an_unset_shell_variable_is_no_folder_and_no_checkpoint(
    workplace: Path, tmp_path: Path, command: str, option: str
) -> None:
    """Pathlib takes an empty name for the current folder."""
    words = ["--data.root", workplace / "images", "--trainer.default_root_dir", tmp_path / "run"]
    words += ["--config", workplace / "config.yaml"] if command == "fit" else []
    words += ["--ckpt_path", workplace / "run/checkpoints/last.ckpt"] if command != "fit" else []
    message = fails(command, *words, option, "", cwd=workplace)
    assert option.removeprefix("--") in message
    assert "an unset shell variable gives none. Received: ''." in message


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
    message = fails("fit", "--config", "wrong.yaml", "--data.root", workplace / "images", cwd=tmp_path)
    assert "no such option. Received: model.droput. Did you mean model.dropout?" in message
    phases = [{**PHASES[0], "epoch": 3}]
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({**CONFIG, "phases": phases}))
    message = fails("fit", "--config", "wrong.yaml", "--data.root", workplace / "images", cwd=tmp_path)
    assert "phases: Phase: no such option. Received: epoch. Did you mean epochs?" in message


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


def test_a_trainer_without_logs_is_refused(workplace: Path, tmp_path: Path) -> None:
    args = ("--config", workplace / "config.yaml", "--data.root", workplace / "images", "--trainer.barebones", "true")
    assert "trainer.barebones: it forbids the logs and checkpoints of a run." in fails("fit", *args, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"data:\n  root: b\xe4se\n", "its byte 16 is not UTF-8. Save it in UTF-8."),
        (b"", "it is empty. Give a mapping, such as"),
        (b"- a\n- b\n", "a mapping is needed, such as configs/folder.yaml has. Received: a list."),
        (b"data: {root: [1\n", "line 2, column 1: it is no YAML ("),
        (b"data:\n  batch_size: 8\n  root: a\n  batch_size: 4\n", "line 4: 'batch_size' is in line 2 already. Keep"),
        (b"phases:\n  - {name: a, lr: 1, lr: 2}\n", "line 2: 'lr' is in line 2 already. Keep one."),
    ],
)
@pytest.mark.parametrize("form", ["--config {}", "--config={}", "-c {}"])
def test_a_bad_config_file_is_named(workplace: Path, tmp_path: Path, content: bytes, said: str, form: str) -> None:
    """Of several the parser's own errors do not say which."""
    (tmp_path / "bad.yaml").write_bytes(content)
    message = fails("fit", "--config", workplace / "config.yaml", *form.format("bad.yaml").split(), cwd=tmp_path)
    assert f"error: config: 'bad.yaml': {said}" in message


def test_what_an_alias_repeats_is_no_second_key(workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "alias.yaml").write_text("data: &same {batch_size: 4}\nkeras: {a: *same, b: *same}\n")
    message = fails("fit", "--config", workplace / "config.yaml", "--config", "alias.yaml", cwd=tmp_path)
    assert "alias" not in message
    assert "data.root" in message


@pytest.mark.parametrize(("option", "value"), [("accelerator", "gpus"), ("devices", "0"), ("fast_dev_run", "-1")])
def test_what_the_trainer_refuses_is_bad_input(workplace: Path, tmp_path: Path, option: str, value: str) -> None:
    words = ("fit", "--config", workplace / "config.yaml", "--data.root", workplace / "images")
    root = ("--trainer.default_root_dir", tmp_path / "run")
    assert "lightning-tl: error: trainer: " in fails(*words, *root, f"--trainer.{option}", value, cwd=tmp_path)


def test_a_config_of_a_run_leaves_the_checkpoint_that_is_given_before_it(workplace: Path, tmp_path: Path) -> None:
    config, checkpoint = workplace / "run/config.yaml", workplace / "run/checkpoints/last.ckpt"
    assert "ckpt_path" not in config.read_text()
    root = ("--data.root", workplace / "images", "--trainer.default_root_dir", tmp_path / "run")
    told = run("validate", "--ckpt_path", checkpoint, "--config", config, *root, cwd=tmp_path)
    assert "val_accuracy" in told.out
    assert "phases: none given. A run goes on by its own config" in fails(
        "fit", "--ckpt_path", checkpoint, *root, cwd=tmp_path
    )
