"""Reading the YAML that lightning-tl reads."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import pytest
import yaml

from keras_ref.cli import main, parse_overrides
from keras_ref.config import read_config
from keras_ref.errors import InputError
from keras_ref.options import DATASET
from keras_ref.phase import ADAM
from keras_ref.trainer import DEVICES, HARMLESS, NEUTRAL, WATCHING
from lightning_tl.cli import main as lightning_main

BRIGHTNESS = {"class_path": "RandomBrightness", "init_args": {"factor": 0.2}}
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
CONFIG: dict[str, Any] = {
    "model": {"weights": "none", "augment": [{"class_path": "RandomFlip"}]},
    "data": {"root": "images"},
    "phases": [{"name": "head", "epochs": 5, "lr": 1.0e-3}],
    "trainer": {"accelerator": "gpu", "devices": 1, "default_root_dir": "somewhere"},
}
PHASE: dict[str, Any] = {"name": "a", "epochs": 1, "lr": 1.0e-3}
ROTATION = "lightning_tl.augment.RandomRotation"
BELOW: dict[str, Any] = {
    "model": {
        "weights": "none",
        "dropout": 0.5,
        "fused": False,
        "backbone_args": {"width_mult": 0.5},
        "augment": [
            {"class_path": "RandomRotation", "init_args": {"factor": 0.1, "fill_mode": "constant"}},
            {"class_path": "RandomContrast", "init_args": {"factor": 0.1}},
        ],
    },
    "data": {"root": "images", "image_size": [64, 96], "batch_size": 8},
    "phases": [
        {**PHASE, "early_stopping": {"patience": 2, "min_delta": 0.1}},
        {**PHASE, "name": "b", "unfreeze_last": 20},
    ],
    "trainer": {"default_root_dir": "somewhere", "max_epochs": 2},
    "keras": {"draws": "shared"},
}


def written(folder: Path, **blocks: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **blocks}))
    return path


def test_defaults_are_those_of_lightning_tl(tmp_path: Path) -> None:
    config = read_config(written(tmp_path))
    assert (config.seed, config.draws, config.root) == (0, "keras", "somewhere")
    assert (config.data.size, config.data.batch_size, config.data.val_fraction) == ((160, 160), 32, 0.2)
    assert (config.model.dropout, config.model.alpha) == (0.2, 1.0)


def test_values_are_overridden_by_dotted_keys(tmp_path: Path) -> None:
    overrides = parse_overrides(
        ["--data.root", "here", "--data.image_size=[96, 64]", "--keras.draws", "shared", "--seed_everything", "3"]
    )
    config = read_config(written(tmp_path), overrides)
    assert (config.data.root, config.data.size) == ("here", (96, 64))
    assert (config.draws, config.seed) == ("shared", 3)


@pytest.mark.parametrize(
    ("above", "options"),
    [
        ({"data": {"root": "others", "batch_size": 16}, "trainer": {"max_epochs": 2}, "seed_everything": 3}, {}),
        ({"phases": [{**PHASE, "name": "c"}, {**PHASE, "lr": 0.1, "name": "d"}]}, {}),
        ({"phases": [{**PHASE, "epochs": 2}], "keras": {}, "pictures": False}, {}),
        ({"model": {"backbone_args": {}, "augment": [{"class_path": "RandomFlip"}]}}, {}),
        ({"model": {"augment": [{"class_path": ROTATION, "init_args": {"factor": 0.3}}, BRIGHTNESS]}}, {}),
        ({"model": {"augment": [{"class_path": "RandomZoom", "init_args": {"height_factor": 0.2}}, BRIGHTNESS]}}, {}),
        ({}, {"phases": "[{name: x, epochs: 1, lr: 0.1}, {name: y, epochs: 1, lr: 0.1}]"}),
        ({"trainer": {"max_epochs": -1}}, {"phases+": "{name: more, epochs: 1, lr: 0.1}"}),
        (
            {"trainer": {"max_epochs": -1}},
            {"phases+": "[{name: x, epochs: 1, lr: 0.1}, {name: y, epochs: 1, lr: 0.1}]"},
        ),
        ({}, {"model.augment+": "{class_path: RandomFlip}"}),
        ({"data": {"batch_size": 4}}, {"data": "{val_fraction: 0.3}", "model.backbone_args.width_mult": "0.25"}),
    ],
)
def test_one_config_on_another_is_what_lightning_tl_makes_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], above: dict[str, Any], options: dict[str, str]
) -> None:
    paths = [tmp_path / "below.yaml", tmp_path / "above.yaml"]
    for path, values in zip(paths, (BELOW, above), strict=True):
        path.write_text(yaml.safe_dump(values))
    given = [word for path in paths for word in ("--config", str(path))]
    changed = [word for key, value in options.items() for word in (f"--{key}", value)]
    with pytest.raises(SystemExit, match="0"):
        lightning_main(["fit", *given, *changed, "--print_config"])
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    ours, theirs = read_config(paths[0], options, paths[1:]), read_config(tmp_path / "printed.yaml")
    for name in ("data", "phases", "seed", "root", "draws", "pictures"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (ours.model.alpha, ours.model.dropout) == (theirs.model.alpha, theirs.model.dropout)
    assert len(ours.model.augment) == len(theirs.model.augment)
    for item, printed in zip(ours.model.augment, theirs.model.augment, strict=True):
        assert printed["class_path"].endswith(item["class_path"].rpartition(".")[2])
        assert without_defaults(item) == without_defaults(printed)


def without_defaults(augmentation: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a transform, without those that lightning-tl writes out."""
    defaults = {"fill_mode": "reflect", "interpolation": "bilinear", "fill_value": 0.0, "value_range": [0.0, 255.0]}
    defaults["mode"] = "horizontal_and_vertical"
    given = augmentation.get("init_args") or {}
    return {key: value for key, value in given.items() if value is not None and value != defaults.get(key)}


def test_a_block_without_values_leaves_those_below(tmp_path: Path) -> None:
    (tmp_path / "above.yaml").write_text("data:\ntrainer:\n")
    path = written(tmp_path)
    assert read_config(path, on_top=[tmp_path / "above.yaml"]) == read_config(path)


@pytest.mark.parametrize("text", ["photos #2", "2024", "yes", "1e3", "a: b", "'quoted'", "./~/photos"])
def test_names_and_paths_are_taken_from_the_command_line_as_they_are(tmp_path: Path, text: str) -> None:
    path = written(tmp_path)
    config = read_config(path, {"data.root": text, "model.weights": text, "trainer.default_root_dir": text})
    assert (config.data.root, config.model.weights, config.root) == (text, text, text)
    assert read_config(path, {"data.split": f"{text}.csv"}).data.split == f"{text}.csv"


def test_a_tilde_is_the_users_home_as_in_lightning_tl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no null of YAML's, with something behind it."""
    monkeypatch.setenv("HOME", "/home/me")
    given = {"data.root": "~/photos", "data.split": "~/split.csv", "trainer.default_root_dir": "~/runs"}
    config = read_config(written(tmp_path), given)
    assert (config.data.root, config.data.split, config.root) == (
        "/home/me/photos", "/home/me/split.csv", "/home/me/runs",
    )  # fmt: skip


def test_no_folder_may_be_asked_for_on_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert read_config(path, {"data.root": "null", "data.dataset": DATASET}).data.root is None
    for text in ("null", ""):
        with pytest.raises(InputError, match="data.root: the folder that holds one folder of images per class"):
            read_config(path, {"data.root": text})


def test_what_concerns_several_devices_is_accepted(tmp_path: Path) -> None:
    phase = {"name": "head", "epochs": 5, "lr": 1.0e-3, "scale_lr": "linear"}
    config = read_config(written(tmp_path, data={"root": "x", "batch_size_is": "global"}, phases=[phase]))
    assert (config.data.batch_size, config.data.batch_size_is, config.phases[0].lr) == (32, "global", 1.0e-3)


def test_nothing_to_resume_is_accepted(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, ckpt_path=None, weights_only=None)) == read_config(written(tmp_path))


def test_numbers_may_be_written_without_a_point(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("data: {root: x}\nphases: [{name: head, epochs: 1, lr: 1e-3}]\n")
    assert read_config(path).phases[0].lr == 1e-3


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"trainer": {"max_epoch": 5}}, "Did you mean trainer.max_epochs?"),
        ({"pictures": "no"}, "pictures"),
        ({"modle": {}}, "modle: unknown key. Did you mean model?"),
        ({"data": {"root": "x", "image_sise": 96}}, "Did you mean data.image_size?"),
        ({"model": {"backbone": "timm/resnet18"}}, "model.backbone"),
        ({"model": {"dropout": 1.0}}, "model.dropout"),
        ({"model": {"convention": "torch"}}, "model.convention"),
        ({"model": {"backbone_args": {"width": 1}}}, "width_mult"),
        ({"model": {"backbone_args": {"width_mult": 0.56}}}, "round all channels alike"),
        ({"model": {"backbone_args": {"width_mult": "wide"}}}, "a number as width_mult is needed. Received: 'wide'"),
        ({"data": {}}, "data.root"),
        (
            {"data": {"root": ""}},
            "data.root: the path of a folder (a number in quotes), or null, is needed. Received: ''",
        ),
        ({"trainer": {"default_root_dir": ""}}, "trainer.default_root_dir: a folder is needed. Received: ''"),
        ({"data": {"root": 2024}}, "data.root: the path of a folder (a number in quotes), or null, is needed. Rec"),
        ({"data": {"root": "x", "split": "random"}}, "data.split"),
        ({"data": {"root": "x", "split": "keras", "test_fraction": 0.1}}, "data.test_fraction"),
        ({"data": {"root": "x", "batch_size_is": "total"}}, "data.batch_size_is"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": 1, "scale_lr": "cubic"}]}, "scale_lr"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": 1, "early_stopping": {"monitor": "loss"}}]}, "monitor"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": 1, "scheduler_args": {"monitor": "train_loss"}}]}, "monitor"),
        ({"data": {"root": "x", "image_size": 16}}, "data.image_size"),
        ({"data": {"root": "x", "dataset": "torchvision.datasets.CIFAR10"}}, "data.dataset"),
        ({"data": {"dataset": "lightning_tl.data.digits.Digits", "split": "keras"}}, "data.split"),
        ({"model": {"backbone": "timm/mobilenetv2_050", "backbone_args": {"width_mult": 1.0}}}, "width_mult"),
        ({"phases": []}, "phases: none given"),
        ({"phases": [{"name": "head", "epochs": 1}]}, "missing lr"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": 1, "optimizer": "torch.optim.SGD"}]}, "KerasAdam"),
        ({"phases": [{"name": 1, "epochs": 1, "lr": 1}]}, "phases: name"),
        ({"phases": [{"name": "a", "epochs": True, "lr": 1}]}, "phases: epochs"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": True}]}, "phases: lr"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": 1, "unfreeze_last": True}]}, "phases: unfreeze_last"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": 1, "optimizer": None}]}, "phases: optimizer"),
        ({"phases": [{**PHASE, "optimizer": {"class_path": ADAM, "init_args": 3}}]}, "phases: optimizer: init_args"),
        ({"phases": [1]}, "Received: [1]"),
        ({"phases": 3}, "Received: 3"),
        ({"data": {"root": "x", "split": 3}}, "data.split"),
        ({"data": {"root": "x", "antialias": "no"}}, "data.antialias"),
        ({"model": {"class_weights": [1.0, 2.0]}}, "model.class_weights"),
        ({"model": {"class_weights": {"a": "heavy"}}}, "model.class_weights"),
        ({"ckpt_path": "last"}, "ckpt_path: null (keras_ref cannot resume"),
        ({"keras": {"draws": "torch"}}, "keras.draws"),
        ({"seed_everything": -1}, "seed_everything"),
        ({"seed_everything": 2**32}, "seed_everything: an integer of 0 or more and below 2**32"),
        ({"phases": [{**PHASE, "early_stopping": {"monitor": "val_acc"}}]}, "one of val_accuracy, val_f1, val_loss is"),
        ({"phases": [{**PHASE, "scheduler": "plateau", "scheduler_args": {"monitor": "val_acc"}}]}, "'val_acc'"),
        (
            {"keras": {"draws": "shared"}, "model": {"augment": [{"class_path": "RandomFlip"}] * 2}},
            "model.fused: false",
        ),
    ],
)
def test_bad_values_are_named(tmp_path: Path, blocks: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_config(written(tmp_path, **blocks))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factor", "same"), [(0.4, True), ([0, 0.5], True), (0.6, False), ([0.2, 0.7], False), (-0.1, False)]
)
def test_shared_draws_are_refused_where_saturation_differs(tmp_path: Path, factor: Any, same: bool) -> None:
    augment = [{"class_path": "ColorJitter", "init_args": {"saturation_factor": factor}}]
    blocks = {"model": {"weights": "none", "augment": augment}}
    assert read_config(written(tmp_path, **blocks)).model.augment == augment  # draws: keras
    path = written(tmp_path, **blocks, keras={"draws": "shared"})
    if same:
        assert read_config(path).draws == "shared"
    else:
        with pytest.raises(InputError, match=r"saturation_factor: .* such as \[0.2, 0.5\]"):
            read_config(path)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_can_be_read(path: Path) -> None:
    assert read_config(path).phases


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_epochs", 3),
        ("max_steps", 10),
        ("min_epochs", 2),
        ("max_time", "00:01:00:00"),
        ("precision", "bf16-mixed"),
        ("precision", "64-true"),
        ("gradient_clip_val", 0.5),
        ("accumulate_grad_batches", 2),
        ("limit_train_batches", 1),  # one batch, where 1.0 is all of them
        ("limit_val_batches", 0.5),
        ("overfit_batches", 3),
        ("fast_dev_run", True),
        ("val_check_interval", 0.5),
        ("check_val_every_n_epoch", 2),
        ("devices", 4),
        ("num_nodes", 2),
        ("callbacks", {"class_path": "lightning.pytorch.callbacks.StochasticWeightAveraging"}),
        ("plugins", "lightning.pytorch.plugins.HalfPrecision"),
    ],
)
def test_what_would_change_the_numbers_is_refused(tmp_path: Path, setting: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^trainer.{setting}: .*Received: {re.escape(repr(value))}"):
        read_config(written(tmp_path, trainer={setting: value}))


def test_lightnings_defaults_and_what_agrees_are_accepted(tmp_path: Path) -> None:
    parameters = inspect.signature(lightning.Trainer).parameters
    assert set(parameters) == {*HARMLESS, *NEUTRAL, *DEVICES, *WATCHING, "max_epochs"}, (
        "decide which settings change the numbers"
    )
    assert read_config(written(tmp_path, trainer={name: item.default for name, item in parameters.items()}))
    alike = {"max_epochs": 5, "precision": "32-true", "limit_train_batches": 1.0, "fast_dev_run": False}
    assert read_config(written(tmp_path, trainer=alike))
    assert read_config(written(tmp_path, trainer={"devices": 4}, data={"root": "images", "batch_size_is": "global"}))
    watching = [{"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"}]
    assert read_config(written(tmp_path, trainer={"callbacks": watching}))


def test_keys_of_speed_are_ignored(tmp_path: Path) -> None:
    speed = {"fold_batchnorm": False, "channels_last": False, "cache_features": True, "keep_memory": False}
    model = {**speed, "compile": True, **CONFIG["model"]}
    data = {"cache": "ram", "cache_folder": "x", "cache_gb": 2.0, **CONFIG["data"]}
    assert read_config(written(tmp_path, model=model, data=data)) == read_config(written(tmp_path))


@pytest.mark.parametrize(("name", "alpha"), [("035", 0.35), ("050", 0.5), ("075", 0.75), ("100", 1.0), ("140", 1.4)])
def test_timms_names_stand_for_a_width(tmp_path: Path, name: str, alpha: float) -> None:
    assert read_config(written(tmp_path, model={"backbone": f"timm/mobilenetv2_{name}"})).model.alpha == alpha


@pytest.mark.parametrize("args", [["--data.root"], ["data.root=x"]])
def test_an_argument_without_its_pair_is_refused(args: list[str]) -> None:
    with pytest.raises(InputError, match="--key value"):
        parse_overrides(args)


def test_every_config_of_the_command_line_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, last = tmp_path / "first.yaml", tmp_path / "last.yaml"
    first.write_text(yaml.safe_dump({**CONFIG, "data": {"root": "images", "batch_size": 0}}))
    for values, message in (({"data": {"root": "others"}}, "data.batch_size"), ({"data": {"batch_size": -3}}, "-3")):
        last.write_text(yaml.safe_dump(values))
        assert main(["fit", "--config", str(first), "--config", str(last)]) == 2
        assert message in capsys.readouterr().err


def test_the_command_line_prints_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(tmp_path / "missing.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("keras_ref: error: --config")
    assert error.count("\n") == 1


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_ref.cli.read_config", interrupted)
    assert main(["fit", "--config", "x.yaml"]) == 130
    assert capsys.readouterr().err == "keras_ref: interrupted\n"
