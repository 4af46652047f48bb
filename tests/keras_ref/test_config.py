"""Reading the YAML that lightning-tl reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from keras_ref.cli import main, parse_overrides
from keras_ref.config import read_config
from keras_ref.errors import InputError

CONFIG: dict[str, Any] = {
    "model": {"weights": "none", "augment": [{"class_path": "RandomFlip"}]},
    "data": {"root": "images"},
    "phases": [{"name": "head", "epochs": 5, "lr": 1.0e-3}],
    "trainer": {"accelerator": "gpu", "devices": 2, "default_root_dir": "somewhere"},
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


def test_what_concerns_several_devices_is_accepted(tmp_path: Path) -> None:
    phase = {"name": "head", "epochs": 5, "lr": 1.0e-3, "scale_lr": "linear"}
    config = read_config(written(tmp_path, data={"root": "x", "batch_size_is": "global"}, phases=[phase]))
    assert (config.data.batch_size, config.data.batch_size_is, config.phases[0].lr) == (32, "global", 1.0e-3)


def test_numbers_may_be_written_without_a_point(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("data: {root: x}\nphases: [{name: head, epochs: 1, lr: 1e-3}]\n")
    assert read_config(path).phases[0].lr == 1e-3


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"modle": {}}, "modle: unknown key. Did you mean model?"),
        ({"data": {"root": "x", "image_sise": 96}}, "Did you mean data.image_size?"),
        ({"model": {"backbone": "timm/resnet18"}}, "model.backbone"),
        ({"model": {"dropout": 1.0}}, "model.dropout"),
        ({"model": {"convention": "torch"}}, "model.convention"),
        ({"model": {"backbone_args": {"width": 1}}}, "width_mult"),
        ({"data": {}}, "data.root"),
        ({"data": {"root": "x", "split": "random"}}, "data.split"),
        ({"data": {"root": "x", "split": "keras", "test_fraction": 0.1}}, "data.test_fraction"),
        ({"data": {"root": "x", "batch_size_is": "total"}}, "data.batch_size_is"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": 1, "scale_lr": "cubic"}]}, "scale_lr"),
        ({"data": {"root": "x", "image_size": 16}}, "data.image_size"),
        ({"data": {"root": "x", "dataset": "torchvision.datasets.CIFAR10"}}, "data.dataset"),
        ({"phases": []}, "phases: none given"),
        ({"phases": [{"name": "head", "epochs": 1}]}, "missing lr"),
        ({"phases": [{"name": "a", "epochs": 1, "lr": 1, "optimizer": "torch.optim.SGD"}]}, "KerasAdam"),
        ({"keras": {"draws": "torch"}}, "keras.draws"),
        ({"seed_everything": -1}, "seed_everything"),
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


@pytest.mark.parametrize("args", [["--data.root"], ["data.root=x"]])
def test_an_argument_without_its_pair_is_refused(args: list[str]) -> None:
    with pytest.raises(InputError, match="--key value"):
        parse_overrides(args)


def test_the_command_line_prints_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(tmp_path / "missing.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("keras_ref: error: --config")
    assert error.count("\n") == 1
