"""The LightningModule: construction, checkpoints, weights."""

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from training import AUGMENT, PHASES, SMALL, draw_images, make_data, make_model, make_trainer

from lightning_tl import InputError, Phase, TransferClassifier
from lightning_tl.augment import RandomFlip, RandomZoom


def small(**options: object) -> TransferClassifier:
    return TransferClassifier(("a", "b"), **{"backbone": SMALL, "weights": "none", "image_size": 32, **options})  # type: ignore[arg-type]


def test_forward_takes_pixels_as_uint8_or_float() -> None:
    model = small().eval()
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    logits = model(images)
    assert logits.shape == (3, 2)
    assert torch.equal(logits, model(images.float()))


def test_only_the_head_trains_without_phases() -> None:
    model = small()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]


def test_augment_takes_transforms_and_their_configs_and_keeps_plain_hyperparameters() -> None:
    model = small(augment=[RandomFlip("horizontal"), {"class_path": "RandomZoom", "init_args": {"height_factor": 0.2}}])
    assert [type(transform) for transform in model.augment.transforms] == [RandomFlip, RandomZoom]
    paths = [config["class_path"] for config in model.hparams["augment"]]
    assert paths == ["lightning_tl.augment.RandomFlip", "lightning_tl.augment.RandomZoom"]


def test_every_argument_is_kept_for_the_checkpoint() -> None:
    """One that is not would be the default again where the checkpoint is loaded."""
    given = {
        "class_names": ["a", "b"],
        "backbone": SMALL,
        "weights": "none",
        "image_size": [64, 32],
        "dropout": 0.3,
        "augment": [{"class_path": "lightning_tl.augment.RandomFlip", "init_args": {"mode": "vertical"}}],
        "fused": False,
        "convention": "torch",
        "class_weights": {"a": 2.0},
        "label_smoothing": 0.1,
        "backbone_args": {"drop_rate": 0.0},
        "fold_batchnorm": False,
        "channels_last": False,
        "cache_features": False,
        "keep_memory": False,
        "compile": False,
        "seed": 3,
        "weights_record": {"source": "file w.pth", "sha256": "ab"},
    }
    assert given.keys() == inspect.signature(TransferClassifier).parameters.keys()
    assert dict(TransferClassifier(**given).hparams) == given  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout: a fraction"),
        ({"label_smoothing": -0.1}, "label_smoothing: a share"),
        ({"class_weights": {"c": 1.0}}, "no such class: c"),
        ({"backbone": "timm/nothing_like_it"}, "backbone: give torchvision/mobilenet_v2 or timm/<name>"),
        ({"weights": "nowhere.pth"}, "weights: .*nowhere.pth"),
        ({"image_size": 16}, "image_size: .* reduces images by 32"),
    ],
)
def test_bad_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**options)


def test_one_class_is_no_classification() -> None:
    with pytest.raises(InputError, match=r"at least two classes, each once, are needed. Received: \['a'\]"):
        TransferClassifier(("a",), weights="none")


def test_training_on_images_of_another_size_is_refused(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images"))
    message = "the model is for images of 48 x 32 pixels, and those of this batch have 32 x 32"
    with pytest.raises(InputError, match=message):
        make_trainer(tmp_path).fit(make_model(data, image_size=(48, 32)), data)


def test_batches_of_another_kind_are_refused_in_words(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images"))
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    for sample, received in (((image, 0), "list"), ({"image": image, "label": 0}, "['image', 'label']")):
        loader: DataLoader[Any] = DataLoader([sample] * 8, batch_size=4)  # type: ignore[arg-type]
        with pytest.raises(
            InputError, match=rf"batch: loaders give a dict of image .* Received: {re.escape(received)}"
        ):
            make_trainer(tmp_path).fit(make_model(data), loader, loader)


def test_pixels_between_0_and_1_are_refused_whatever_is_done_with_them(tmp_path: Path) -> None:
    """Not where the first image is black."""
    data = make_data(draw_images(tmp_path / "images"))
    model, trainer = make_model(data), make_trainer(tmp_path)
    loaders = []
    for highest in (1.0, 255.0, 0.0):
        sample = {"image": torch.full((3, 32, 32), highest), "label": 0, "index": 0}
        loaders.append(DataLoader([sample] * 8, batch_size=4))  # type: ignore[arg-type, list-item]
    for act in (trainer.fit, trainer.validate, trainer.test, trainer.predict):
        unit, bright, black = ([loader] * (2 if act == trainer.fit else 1) for loader in loaders)
        with pytest.raises(InputError, match=r"^image: pixels in \[0, 255\] .* torch.float32 of 1 to 1 in the first"):
            act(model, *unit)
        act(model, *bright)
        act(model, *black)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (3, r"^label: positions of the model's 3 classes, 0 to 2, are needed. Received: 3; give .* class_names of all"),
        (-1, r"^label: positions of the model's 3 classes, 0 to 2, are needed. Received: -1;"),
        (1.0, r"^label: positions of classes, int64 \(batch,\), are needed. Received: torch.float32 \(4,\)."),
    ],
)
def test_labels_of_no_class_are_refused_where_they_are_looked_at(label: Any, message: str, tmp_path: Path) -> None:
    model, trainer = make_model(make_data(draw_images(tmp_path / "images"))), make_trainer(tmp_path)
    samples = [{"image": torch.zeros(3, 32, 32, dtype=torch.uint8), "label": 0, "index": n} for n in range(8)]
    good: DataLoader[Any] = DataLoader(samples, batch_size=4)  # type: ignore[arg-type]
    bad: DataLoader[Any] = DataLoader([*samples[:7], {**samples[7], "label": label}], batch_size=4)  # type: ignore[arg-type]
    for act in (lambda: trainer.fit(model, bad, good), lambda: trainer.fit(model, good, bad)):
        with pytest.raises(InputError, match=message):
            act()
    for evaluate in (trainer.validate, trainer.test):
        with pytest.raises(InputError, match=message):
            evaluate(model, bad)
    if label == 3:
        with pytest.raises(InputError, match=message):
            trainer.predict(model, bad)


def test_labels_below_0_are_unknown_where_images_are_predicted(tmp_path: Path) -> None:
    model, trainer = make_model(make_data(draw_images(tmp_path / "images"))), make_trainer(tmp_path)
    samples = [{"image": torch.zeros(3, 32, 32, dtype=torch.uint8), "label": -n, "index": n} for n in range(4)]
    (rows,) = trainer.predict(model, DataLoader(samples, batch_size=4)) or []  # type: ignore[arg-type]
    assert rows["loss"].isnan().tolist() == [False, True, True, True]  # type: ignore[call-overload, index]


def test_labels_of_a_row_a_sample_are_refused(tmp_path: Path) -> None:
    model, trainer = make_model(make_data(draw_images(tmp_path / "images"))), make_trainer(tmp_path)
    one_hot = {"image": torch.zeros(3, 32, 32, dtype=torch.uint8), "label": torch.tensor([0, 1, 0]), "index": 0}
    with pytest.raises(InputError, match=r"int64 \(batch,\), are needed. Received: torch.int64 \(4, 3\)."):
        trainer.validate(model, DataLoader([one_hot] * 4, batch_size=4))  # type: ignore[arg-type]


class Soft(TransferClassifier):
    """Its labels are shares of the classes, as MixUp's are."""

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return torch.nn.functional.cross_entropy(self(batch["image"]), batch["label"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        assert batch["label"].is_floating_point()


def test_a_subclass_may_have_labels_of_another_kind(tmp_path: Path) -> None:
    sample = {"image": torch.zeros(3, 32, 32, dtype=torch.uint8), "label": torch.tensor([0.5, 0.5]), "index": 0}
    loader: DataLoader[Any] = DataLoader([sample] * 8, batch_size=4)  # type: ignore[list-item]
    model = Soft(["a", "b"], SMALL, weights="none", image_size=32)
    trainer = make_trainer(tmp_path)
    trainer.fit(model, loader, loader)
    assert trainer.global_step > 0


def test_a_subclass_may_have_its_labels_checked(tmp_path: Path) -> None:
    class Hard(Soft):
        knows_labels = True

    sample = {"image": torch.zeros(3, 32, 32, dtype=torch.uint8), "label": torch.tensor([0.5, 0.5]), "index": 0}
    loader: DataLoader[Any] = DataLoader([sample] * 8, batch_size=4)  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"^label: positions of classes"):
        make_trainer(tmp_path).fit(Hard(["a", "b"], SMALL, weights="none", image_size=32), loader, loader)


def test_images_of_another_size_are_evaluated_with_one_warning(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images"), batch_size=2)
    model, trainer = make_model(data, image_size=(48, 32)), make_trainer(tmp_path)
    for act in (trainer.validate, trainer.test, trainer.predict):
        message = "image_size: the model was made for images of 48 x 32 pixels, and these have 32 x 32"
        with pytest.warns(UserWarning, match=message) as told:
            act(model, data)
        assert sum(message in str(warning.message) for warning in told) == 1


def test_a_validation_before_a_fit_leaves_its_sums_behind(tmp_path: Path) -> None:
    """They are made in inference mode, which what trains cannot add to in place; and need no numbers of images."""
    data, losses = make_data(draw_images(tmp_path / "images")), []
    for first in (False, True):
        model, trainer = make_model(data, seed=0), make_trainer(tmp_path)
        model.load_state_dict({name: torch.ones_like(value) for name, value in model.state_dict().items()})
        if first:
            sample = {"image": torch.zeros(3, 32, 32, dtype=torch.uint8), "label": 0}
            trainer.validate(model, DataLoader([sample] * 4, batch_size=4), verbose=False)  # type: ignore[arg-type]
        trainer.fit(model, data)
        losses.append({name: float(value) for name, value in trainer.callback_metrics.items()})
    assert losses[0] == losses[1]


def test_numbers_of_numpy_are_saved_as_pythons(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images"))
    weights = dict.fromkeys(np.unique(data.class_names), np.float64(1.5))
    adam = {"class_path": "lightning_tl.optim.KerasAdam", "init_args": {"betas": tuple(np.array([0.9, 0.99]))}}
    phases = [Phase("head", epochs=1, lr=np.logspace(-3, -2, 2)[0], optimizer=adam)]
    trainer = make_trainer(tmp_path, phases)
    trainer.fit(make_model(data, class_weights=weights, seed=np.int64(3)), data)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    model = TransferClassifier.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True)
    assert (model.hparams["seed"], model.hparams["class_weights"]["red"]) == (3, 1.5)


def test_a_model_that_no_trainer_has_can_be_saved() -> None:
    """As after processes that were spawned, in which it has trained."""
    checkpoint: dict[str, Any] = {}
    small().on_save_checkpoint(checkpoint)
    assert checkpoint["hyper_parameters"] == {"weights": "none"}


def test_a_checkpoint_loads_by_itself_and_knows_its_classes(tmp_path: Path) -> None:
    data = make_data(draw_images(tmp_path / "images"))
    model = make_model(data, dropout=0.3, class_weights={"red": 2.0}, seed=5)
    trainer = make_trainer(tmp_path, max_epochs=4)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = TransferClassifier.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert loaded.class_names == ("blue", "green", "red")
    assert (loaded.dropout.rate, loaded.seed, len(loaded.augment.transforms)) == (0.3, 5, len(AUGMENT))
    assert loaded.weights_record == model.weights_record
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), model.eval()(images))


def test_imagenet_weights_from_a_file_are_torchvisions_own_network(assets: Path) -> None:
    """Features equal those of torchvision's model with its own preprocessing."""
    import torchvision

    file = assets / "weights" / "mobilenet_v2-b0353104.pth"
    model = TransferClassifier(("a", "b"), weights=str(file), image_size=96).eval()
    theirs = torchvision.models.mobilenet_v2()
    theirs.load_state_dict(torch.load(file, weights_only=True))
    theirs.eval()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    scaled = (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    expected = theirs.features(scaled).mean(dim=(2, 3)).detach()
    # float32 rounding through 52 convolutions; facts of torchvision's own forward: 1.8e-6 from its float64 one
    torch.testing.assert_close(model.backbone(images), expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    assert model.weights_record["sha256"].startswith("b0353104")


def test_weights_decide_the_convention_and_mixing_is_an_error(assets: Path) -> None:
    keras, torch_ = (
        str(assets / "weights" / name) for name in ("keras_mobilenet_v2_1.0_224_no_top.h5", "mobilenet_v2-b0353104.pth")
    )
    assert TransferClassifier(("a", "b"), weights=keras).backbone.convention == "keras"
    assert TransferClassifier(("a", "b"), weights=torch_).backbone.convention == "torch"
    with pytest.raises(InputError, match=r"convention: .* in the keras convention. Received: torch"):
        TransferClassifier(("a", "b"), weights=keras, convention="torch")
    with pytest.raises(InputError, match=r"convention: .* in the torch convention. Received: keras"):
        TransferClassifier(("a", "b"), weights=torch_, convention="keras")


def test_weights_of_another_architecture_are_refused(assets: Path) -> None:
    file = str(assets / "weights" / "timm_tf_efficientnet_lite0.pth")
    with pytest.raises(InputError, match="weights of another architecture"):
        TransferClassifier(("a", "b"), weights=file)
    model = TransferClassifier(("a", "b"), backbone="timm/tf_efficientnet_lite0", weights=file, image_size=64)
    assert model.backbone.num_features == 1280


@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_metrics_are_logged_whatever_was_added_up_before_a_run(images: Path, tmp_path: Path, stage: str) -> None:
    """As by a run that broke off in an epoch, or by calls of a step by hand."""
    data = make_data(images)
    data.setup("fit")
    model = make_model(data, augment=[])
    metrics = model._metrics_of(stage)
    for _ in range(2):
        metrics.update(torch.full((4, 3), 50.0), torch.zeros(4, dtype=torch.int64), torch.tensor(1e6))
    trainer = make_trainer(tmp_path, [{**PHASES[0], "epochs": 1}], num_sanity_val_steps=0)
    if stage == "train":
        trainer.fit(model, data)
        found = trainer.callback_metrics
    else:
        (found,) = (trainer.validate if stage == "val" else trainer.test)(model, data, verbose=False)
    assert 0 < float(found[f"{stage}_loss"]) < 100
