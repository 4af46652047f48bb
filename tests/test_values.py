"""Arguments of wrong kinds: one message that names the argument, whichever object takes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_tl import ImageFolderDataModule, Phase, TransferClassifier
from lightning_tl.command import main
from lightning_tl.data.torchvision_source import to_rgb
from lightning_tl.errors import InputError
from lightning_tl.values import checked_seed, image_sides, is_number, is_whole


def classifier(**arguments: Any) -> TransferClassifier:
    small = {"weights": "none", "backbone_args": {"width_mult": 0.35}, "image_size": 32}
    return TransferClassifier(["a", "b"], **{**small, **arguments})


def data(**arguments: Any) -> ImageFolderDataModule:
    return ImageFolderDataModule("images", **arguments)


def phase(**arguments: Any) -> Phase:
    return Phase(**{"name": "head", "epochs": 1, "lr": 1e-3, **arguments})


@pytest.mark.parametrize(
    ("make", "argument", "value"),
    [
        (classifier, "image_size", [160]),
        (classifier, "image_size", 160.0),
        (classifier, "image_size", "160"),
        (classifier, "image_size", [64, 64, 3]),
        (classifier, "image_size", True),
        (classifier, "seed", -1),
        (classifier, "seed", 1.7),
        (classifier, "seed", 2**32),
        (classifier, "convention", "Keras"),
        (classifier, "dropout", "0.2"),
        (classifier, "label_smoothing", "0.1"),
        (classifier, "class_weights", {"a": float("nan")}),
        (classifier, "class_weights", {"a": float("inf")}),
        (classifier, "class_weights", {"a": "x"}),
        (classifier, "class_weights", {"a": 0, "b": 0}),
        (data, "image_size", [160]),
        (data, "seed", 2**32),
        (data, "antialias", "no"),
        (data, "cache_gb", True),
        (data, "val_fraction", "0.2"),
        (data, "test_fraction", True),
        (phase, "unfreeze_last", True),
        (phase, "unfreeze_last", "20"),
        (phase, "epochs", True),
    ],
)
def test_a_value_of_a_wrong_kind_is_named(make: Callable[..., Any], argument: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"{argument}[: ].*Received: "):
        make(**{argument: value})


def test_numpys_numbers_are_numbers() -> None:
    """As a sweep draws them."""
    assert checked_seed("seed", np.int64(3)) == 3  # type: ignore[arg-type]
    assert image_sides("image_size", [np.int32(32), 64]) == (32, 64)  # type: ignore[list-item]
    assert is_number(np.float32(0.5))
    assert is_whole(np.int8(1))
    assert not any(map(is_number, (True, "1", None)))
    assert not is_whole(1.0)
    model = classifier(seed=np.int64(3), dropout=np.float64(0.5))
    assert (model.hparams["seed"], model.hparams["image_size"]) == (3, [32, 32])


def test_integers_whose_range_nobody_knows_are_no_pixels() -> None:
    for dtype in (torch.int16, torch.int64, torch.bool):
        with pytest.raises(InputError, match=r"uint8 in \[0, 255\] or floating-point numbers in \[0, 1\]"):
            to_rgb(torch.ones(3, 4, 4, dtype=dtype))
    assert to_rgb(torch.full((4, 4), 200, dtype=torch.uint8)).unique().tolist() == [200]


def test_a_seed_that_numpy_does_not_take_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(__file__).parent.parent / "configs" / "demo.yaml"
    given = ["fit", "--config", str(config), "--seed_everything", str(2**32), "--trainer.default_root_dir"]
    assert main([*given, str(tmp_path / "run")]) == 2
    assert "seed_everything: a non-negative integer below 2**32 is needed" in capsys.readouterr().err
