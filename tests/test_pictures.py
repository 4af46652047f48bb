"""The pictures that a run leaves behind, from real small runs."""

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor
from training import SMALL, draw_images, make_data, make_model, make_trainer

from lightning_tl import ImageFolderDataModule, TransferClassifier, finish_fit
from lightning_tl.augment import lay_out
from lightning_tl.collect import predict_all
from lightning_tl.gradcam import gradcam, overlay
from lightning_tl.pictures import remove_pictures, write_pictures
from lightning_tl.thumbnail import save_jpeg, thumbnails

SIDE = 64  # its last feature map is 2 x 2
PHASES = [{"name": "head", "epochs": 2, "lr": 1e-2}, {"name": "finetune", "epochs": 1, "lr": 1e-4, "unfreeze_last": 20}]


class Seen(Callback):
    """The augmented training images, as each epoch's steps got them."""

    def __init__(self) -> None:
        self.images: dict[tuple[int, int], Tensor] = {}

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        for index, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            self.images[trainer.current_epoch, index] = image.clone()


class Run:
    """A fit of one folder of images, with its pictures."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder / "run"
        draw_images(folder / "images", count=12)
        self.data = make_data(folder / "images", image_size=SIDE, test_fraction=0.25, **options)
        lightning.seed_everything(0, verbose=False)  # of the backbone's random weights, which make mistakes
        self.model = make_model(self.data, image_size=SIDE, backbone=SMALL)
        self.seen = Seen()
        self.trainer = make_trainer(self.folder, PHASES, callbacks=[self.seen])
        self.trainer.fit(self.model, self.data)
        self.finish()

    def finish(self, **options: Any) -> None:
        phases = [{"name": "head", "epochs": 2}, {"name": "finetune", "epochs": 1}]
        finish_fit(self.trainer, self.model, self.data, self.folder, phases, **options)

    @property
    def contents(self) -> dict[str, Any]:
        contents: dict[str, Any] = json.loads((self.folder / "pictures/pictures.json").read_text())
        return contents


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("pictures"))


def read(path: Path) -> Tensor:
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).int()


def distance(path: Path, expected: Tensor) -> float:
    """Mean difference between the pixels of a file and those of ``expected`` as a JPEG file of its own."""
    file = path.with_name("expected.jpg")
    save_jpeg(file, expected)
    ours, theirs = read(path), read(file)
    file.unlink()
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().float().mean())


def test_every_held_out_image_of_a_small_run_has_a_thumbnail_and_every_mistake_a_map(run: Run) -> None:
    contents = run.contents
    assert contents["image_size"] == [SIDE, SIDE]
    held_out = [i for i, sample in enumerate(run.data.samples) if sample.split != "train"]
    assert sorted(map(int, contents["images"])) == held_out
    predictions = predict_all(
        run.trainer, run.model, run.folder, dataloaders=[run.data.val_dataloader(), run.data.test_dataloader()]
    )
    wrong = predictions.where(predictions.predicted != predictions.label)
    assert len(wrong.index)
    assert sorted(map(int, contents["gradcam"])) == wrong.index.tolist()
    assert list(contents["gradcam"]) == list(contents["images"])[: len(wrong.index)], "most confident first, in both"
    for index, label in zip(wrong.index.tolist(), wrong.predicted.tolist(), strict=True):
        pixels = run.data.pixels([index])
        maps = gradcam(run.model, pixels, torch.tensor([label]))
        assert maps is not None
        (expected,) = overlay(thumbnails(pixels), maps)
        assert distance(run.folder / "pictures" / contents["gradcam"][str(index)], expected) < 1  # another batch size


def test_thumbnails_show_what_the_model_sees(run: Run) -> None:
    batches = [*run.data.val_dataloader(), *run.data.test_dataloader()]
    seen = {int(i): image for batch in batches for i, image in zip(batch["index"], batch["image"], strict=True)}  # type: ignore[call-overload]
    for index, path in run.contents["images"].items():
        distances = {other: distance(run.folder / "pictures" / path, image) for other, image in seen.items()}
        assert distances.pop(int(index)) == 0
        assert min(distances.values()) > 5


def test_the_grid_shows_what_training_has_drawn(run: Run) -> None:
    augmented = run.contents["augmented"]
    assert augmented["columns"] == ["original", "epoch 0", "epoch 1", "epoch 2"]
    assert len(augmented["rows"]) == 6
    assert [run.data.samples[index].label for index in augmented["rows"]] == ["blue", "green", "red"] * 2
    assert {run.data.samples[index].split for index in augmented["rows"]} == {"train"}
    rows = [
        torch.stack(
            [run.data.pixels([i])[0], *(run.seen.images[epoch, i].round().to(torch.uint8) for epoch in range(3))]
        )
        for i in augmented["rows"]
    ]
    shown = run.folder / "pictures" / augmented["file"]
    assert distance(shown, lay_out(torch.stack(rows))) < 0.5  # rounded from batches of another size
    assert distance(shown, lay_out(torch.stack([row[[0, 2, 1, 3]] for row in rows]))) > 5
    assert distance(shown, lay_out(torch.stack([*rows[3:], *rows[:3]]))) > 5


def test_nothing_else_changes(run: Run) -> None:
    """Weights, modes, flags, gradients and random numbers after finish_fit do not depend on the pictures."""

    def state() -> Any:
        return (
            {name: value.clone() for name, value in run.model.state_dict().items()},
            [(p.requires_grad, p.grad is None) for p in run.model.parameters()],
            [module.training for module in run.model.modules()],
            torch.get_rng_state().clone(),
        )

    states = []
    for pictures in (False, True):
        torch.manual_seed(5)
        run.finish(pictures=pictures)
        states.append(state())
    assert states[0][1:3] == states[1][1:3]
    assert torch.equal(states[0][3], states[1][3])
    assert all(torch.equal(value, states[1][0][name]) for name, value in states[0][0].items())


def test_an_earlier_folder_is_replaced_whole_and_left_out_when_asked(run: Run) -> None:
    old = run.folder / "pictures/images/999999.jpg"
    old.touch()
    (run.folder / ".pictures").mkdir()  # of a process that was killed
    (run.folder / ".pictures/half").touch()
    run.finish()
    assert not old.exists()
    assert not (run.folder / ".pictures").exists()
    contents = run.contents
    listed = {*contents["images"].values(), *contents["gradcam"].values(), contents["augmented"]["file"]}
    found = {path.relative_to(run.folder / "pictures").as_posix() for path in (run.folder / "pictures").rglob("*.jpg")}
    assert found == listed
    run.finish(pictures=False)
    assert not (run.folder / "pictures").exists(), "those of other weights do not stay"
    run.finish()


@pytest.fixture
def unread(run: Run, tmp_path: Path) -> Iterator[ImageFolderDataModule]:
    """Data whose images have gone since they were last read."""
    (tmp_path / "images").symlink_to(Path(str(run.data.options.root)))
    data = make_data(tmp_path / "images", image_size=SIDE, test_fraction=0.25, cache="none")
    _ = data.samples
    (tmp_path / "images").unlink()
    return data


def test_a_failure_costs_the_pictures_and_nothing_else(run: Run, tmp_path: Path) -> None:
    """The user's own folder of that name stays as it is."""
    run.folder, folder = tmp_path, run.folder
    try:
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures/holiday.jpg").touch()
        with pytest.warns(UserWarning, match=r"pictures: none are left, all else is \(.*not empty"):
            run.finish()
    finally:
        run.folder = folder
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["holiday.jpg"]
    left = {"predictions.csv", "results.json", "confusion_matrix.png", "pictures"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert (tmp_path / "results.json").read_text() == (folder / "results.json").read_text()


def test_images_that_have_gone_are_named(run: Run, unread: ImageFolderDataModule, tmp_path: Path) -> None:
    predictions = predict_all(run.trainer, run.model, run.folder, dataloaders=[run.data.val_dataloader()])
    with pytest.raises(ValueError, match=r"images/.*\.png' cannot be decoded"):
        write_pictures(tmp_path, run.model, unread, predictions, 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
def test_pixels_do_not_depend_on_the_cache(run: Run, cache: Any) -> None:
    data = make_data(Path(str(run.data.options.root)), image_size=SIDE, test_fraction=0.25, cache=cache)
    indices = [30, 0, 7]
    assert torch.equal(data.pixels(indices), run.data.pixels(indices))


def test_the_digits_of_the_demo_have_pictures_too(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    data = ImageFolderDataModule(dataset="lightning_tl.data.digits.Digits", image_size=32, num_workers=0, batch_size=64)
    model = make_model(data, augment=[])
    trainer = make_trainer(tmp_path, limit_predict_batches=2)
    predictions = predict_all(trainer, model, tmp_path, dataloaders=[data.val_dataloader()])
    write_pictures(tmp_path, model, data, predictions, 1)
    contents = json.loads((tmp_path / "pictures/pictures.json").read_text())
    assert set(contents) == {"image_size", "images"}, "nothing is augmented, and 32 pixels leave no map"
    assert len(contents["images"]) == 128
    assert read(tmp_path / "pictures" / next(iter(contents["images"].values()))).shape == (3, 96, 96)


def test_a_network_without_a_map_is_told_once(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vit = TransferClassifier(run.data.class_names, "timm/vit_tiny_patch16_224", weights="none", image_size=SIDE)
    predictions = predict_all(run.trainer, run.model, run.folder, dataloaders=[run.data.val_dataloader()])
    with caplog.at_level(logging.INFO), warnings.catch_warnings():
        write_pictures(tmp_path, vit, run.data, predictions, 0)
    assert caplog.text.count("No Grad-CAM pictures") == 1
    assert "vit_tiny_patch16_224" in caplog.text
    contents = json.loads((tmp_path / "pictures/pictures.json").read_text())
    assert set(contents) == {"image_size", "images"}
    remove_pictures(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_runs_of_other_precision_have_pictures_too(run: Run, tmp_path: Path, precision: Any) -> None:
    model = make_model(run.data, image_size=SIDE)
    trainer = make_trainer(tmp_path, PHASES[:1], precision=precision, limit_train_batches=1)
    trainer.fit(model, run.data)
    finish_fit(trainer, model, run.data, tmp_path, [{"name": "head", "epochs": 2}])
    contents = json.loads((tmp_path / "pictures/pictures.json").read_text())
    assert contents["gradcam"]
    assert contents["augmented"]["columns"] == ["original", "epoch 0", "epoch 1"]
    run.data.trainer = run.trainer
