"""A checkpoint goes on in the run and the network that it is of."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from training import PHASES, draw_images, make_data, make_model, make_trainer

from lightning_tl import InputError
from lightning_tl.same_run import check_classes

BEGUN: dict[str, Any] = {"convention": "keras", "seed": 3, "dropout": 0.3, "augment": [{"class_path": "RandomFlip"}]}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("same_run") / "images")


@pytest.fixture(scope="module")
def checkpoint(images: Path) -> str:
    """Of the first phase's first epoch."""
    data, trainer = make_data(images, seed=3), make_trainer(images.parent, [{**PHASES[0], "epochs": 1}])
    model = make_model(data, **BEGUN)
    model.weights_record = model.hparams["weights_record"] = {"source": "a file of before", "sha256": "0"}
    trainer.fit(model, data)
    path = images.parent / "begun.ckpt"
    trainer.save_checkpoint(path)
    return str(path)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ({"convention": "torch"}, {}, "model.convention is 'keras', .* Received: 'torch'"),
        (
            {"backbone": "timm/mobilenetv2_050"},
            {},
            "model.backbone is 'timm/mobilenetv2_035', .* Received: 'timm/mobil",
        ),
        ({"image_size": 48}, {"image_size": 48}, r"model.image_size is \[32, 32\], .* Received: \[48, 48\]"),
        ({"seed": 4}, {}, "model.seed is 3, .* Received: 4"),
        ({}, {"resize": "crop"}, "data.resize is 'stretch', .* Received: 'crop'"),
        ({}, {"antialias": True}, "data.antialias is False, .* Received: True"),
    ],
)
def test_a_run_goes_on_as_it_was_begun_or_not_at_all(
    images: Path, checkpoint: str, model: dict[str, Any], data: dict[str, Any], message: str
) -> None:
    other = make_data(images, **{"seed": 3, **data})
    trainer = make_trainer(images.parent)
    with pytest.raises(InputError, match=rf"^ckpt_path: the checkpoint's {message}.*--config RUN/config.yaml"):
        trainer.fit(make_model(other, **{**BEGUN, **model}), other, ckpt_path=checkpoint, weights_only=True)


def test_what_may_change_is_told_and_nothing_is_where_nothing_does(images: Path, checkpoint: str) -> None:
    data = make_data(images, seed=3)
    changed = make_model(data, **{**BEGUN, "dropout": 0.5})
    with pytest.warns(UserWarning, match=r"otherwise than it was begun: dropout was 0.3, and is 0.5\."):
        make_trainer(images.parent).fit(changed, data, ckpt_path=checkpoint, weights_only=True)
    assert changed.weights_record["source"] == "a file of before"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="ckpt_path")
        same = make_model(data, **BEGUN)
        make_trainer(images.parent).fit(same, data, ckpt_path=checkpoint, weights_only=True)


def test_weights_are_tested_in_their_own_network_with_their_own_classes(images: Path, checkpoint: str) -> None:
    data, trainer = make_data(images), make_trainer(images.parent)
    with pytest.raises(InputError, match=r"model.convention is 'keras', .* Received: 'torch'"):
        trainer.test(make_model(data, convention="torch"), data, ckpt_path=checkpoint, weights_only=True)
    (found,) = trainer.test(make_model(data, **{**BEGUN, "seed": 0}), data, ckpt_path=checkpoint, weights_only=True)
    assert found.keys() >= {"test_accuracy"}
    other = make_data(draw_images(images.parent / "others", ("blue", "green")))
    for act in (trainer.test, trainer.validate, trainer.fit):
        with pytest.raises(
            InputError, match=r"^class_names: the model knows .*blue, green, red; the data has blue, gr"
        ):
            act(make_model(data), other)
    trainer.predict(make_model(data), other)
    trainer.test(make_model(data), data.test_dataloader(), verbose=False)  # whatever module an earlier call had


def test_a_model_that_was_frozen_trains_its_head(images: Path, checkpoint: str) -> None:
    data = make_data(images)
    model = make_model(data, **BEGUN)
    model.freeze()
    before = model.head.weight.clone()
    make_trainer(images.parent, PHASES[:1]).fit(model, data)
    assert not model.head.weight.equal(before)


def test_the_same_classes_in_another_order_are_told_apart_from_others() -> None:
    with pytest.raises(InputError, match="rose, daisy; the data has daisy, rose: the same in another order"):
        check_classes("ckpt_path: the checkpoint", ("rose", "daisy"), ("daisy", "rose"))
