"""Grad-CAM, the augmented grid and the folder of them on every backend, held to what lightning_tl makes of the same."""

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_tl import TransferClassifier
from lightning_tl.augment import AugmentationPipeline, from_config, lay_out
from lightning_tl.gradcam import gradcam, overlay
from lightning_tl.report.page import write_report
from lightning_tl.report.pictures import Pictures
from lightning_tl.report.run import read_run
from lightning_tl.thumbnail import save_jpeg, thumbnails

MAP_TOLERANCE = 2e-5
"""Of a map's largest value: the networks' features differ by 1e-5 of theirs in float32, and the head's sums cancel."""
GRID_TOLERANCE = 2e-3
"""On [0, 255], before rounding: coordinates in float32, as for every augmentation by itself."""


def first(array: np.ndarray) -> torch.Tensor:
    """Channels from last to first: (..., height, width, 3) to (..., 3, height, width)."""
    return torch.from_numpy(array).movedim(-1, -3)


def last(tensor: torch.Tensor) -> np.ndarray:
    """The other way round."""
    return tensor.movedim(-3, -1).numpy()


@cache
def ours(folder: Path) -> TransferClassifier:
    """The model of a worker, by its weights."""
    network, weights = {"width_mult": 0.35}, str(folder / "weights.h5")
    model = TransferClassifier(
        ["dark", "light"], weights=weights, image_size=[96, 128], backbone_args=network, convention="keras"
    )
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(np.load(folder / "explained/head.npy").T))
    return model


def contents(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "pictures/pictures.json").read_text())
    return found


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return np.asarray(image).astype(int)


@pytest.mark.parametrize("label", [0, 1])
def test_maps_are_those_of_lightning_tl(keras_side: Any, label: int) -> None:
    model = ours(keras_side.folder)
    expected = gradcam(model, first(keras_side.array("explained/images")), torch.full((4,), label))
    assert expected is not None
    received = keras_side.array(f"explained/maps_{label}")
    assert received.dtype == np.float32
    assert received.shape == (4, 3, 4)
    assert 0.2 < (received == 0).mean() < 0.8
    np.testing.assert_allclose(received, expected.numpy(), rtol=0, atol=MAP_TOLERANCE * received.max())


def test_overlays_are_those_of_lightning_tl(keras_side: Any) -> None:
    images, maps = first(keras_side.array("explained/images")), torch.from_numpy(keras_side.array("explained/chosen"))
    expected = last(overlay(images, maps)).astype(int)
    received = keras_side.array("explained/overlay")
    assert received.dtype == np.uint8
    # A value on the border of two of the 256 colours takes either, in a few places.
    difference = np.abs(received - expected)
    assert difference.max() <= 2
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("height", [8, 112, 230])
def test_thumbnails_are_those_of_lightning_tl(keras_side: Any, height: int) -> None:
    large, received = (keras_side.array(f"explained/{name}_{height}") for name in ("large", "small"))
    expected = last(thumbnails(first(large)))
    assert received.shape == expected.shape
    assert np.abs(received.astype(int) - expected).max() <= (1 if height > 112 else 0)  # two roundings and one


def test_the_grid_shows_what_training_draws(keras_side: Any) -> None:
    grid, trained = keras_side.array("explained/grid"), keras_side.array("explained/trained")
    assert grid.shape == (6, 3, 96, 128, 3)
    assert np.abs(grid[:, 1:] - trained).max() <= 0.5 + GRID_TOLERANCE
    assert np.abs(grid[:, 1:] - trained[:, ::-1]).mean() > 5, "no two epochs are alike"


def test_the_grid_is_that_of_lightning_tl(keras_side: Any, ref_questions: Any) -> None:
    transforms = [from_config(ref_questions["augment"][number]) for number in (0, 2)]
    pipeline = AugmentationPipeline(transforms, fused=False)
    grid, rows = keras_side.array("explained/grid"), torch.from_numpy(keras_side.array("explained/rows"))
    for epoch in range(2):
        expected = last(pipeline(first(grid[:, 0]), rows, 4, epoch))
        assert np.abs(grid[:, 1 + epoch] - expected).max() <= 0.5 + GRID_TOLERANCE


def test_the_grid_is_laid_out_as_that_of_lightning_tl(keras_side: Any) -> None:
    np.testing.assert_array_equal(
        keras_side.array("explained/laid_out"), last(lay_out(first(keras_side.array("explained/grid"))))
    )


def test_where_keras_draws_the_grid_shows_draws_of_its_layers(keras_side: Any) -> None:
    grid = keras_side.array("drawn/grid").astype(int)
    np.testing.assert_array_equal(grid[:, 0], keras_side.array("explained/grid")[:, 0])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(grid[:, one] - grid[:, other]).mean() > 5
    assert contents(keras_side.folder / "drawn")["augmented"]["columns"] == ["original", "draw 0", "draw 1"]


@pytest.mark.parametrize("name", ["explained", "drawn"])
def test_nothing_of_it_stays_in_the_model(keras_side: Any, name: str) -> None:
    """Neither in its weights nor in Keras' random streams, which would give other numbers the second time."""
    assert len(keras_side.answers["pictures"][name]) > 260
    assert all(keras_side.answers["pictures"][name])
    np.testing.assert_array_equal(keras_side.array(f"{name}/grid"), keras_side.array(f"{name}/again"))


def test_a_folder_has_a_map_of_every_mistake_and_the_grid(keras_side: Any) -> None:
    folder = keras_side.folder / "explained"
    found = contents(folder)
    assert list(found) == ["image_size", "images", "gradcam", "augmented"]
    assert list(found["gradcam"]) == list(found["images"]), "all are mistakes, the most confident first"
    assert len(found["gradcam"]) == 4
    assert list(map(int, found["gradcam"])) == sorted(map(int, found["gradcam"]), reverse=True)
    assert found["augmented"]["columns"] == ["original", "epoch 0", "epoch 1"]
    assert found["augmented"]["rows"] == keras_side.array("explained/rows").tolist()
    small = np.stack([last(thumbnails(first(row))) for row in keras_side.array("explained/grid")])
    expected = last(lay_out(first(small)))
    assert np.abs(read(folder / "pictures/augmented.jpg") - expected).mean() < 8  # JPEG of noise
    files = {path.relative_to(folder / "pictures").as_posix() for path in (folder / "pictures").rglob("*.jpg")}
    assert files == {*found["images"].values(), *found["gradcam"].values(), "augmented.jpg"}


def test_an_overlay_is_of_the_predicted_class(keras_side: Any, tmp_path: Path) -> None:
    folder, model = keras_side.folder / "explained", ours(keras_side.folder)
    images = first(keras_side.array("explained/images"))
    labels = torch.from_numpy(keras_side.array("explained/labels"))
    for number, index in enumerate(keras_side.array("explained/index").tolist()):
        file = read(folder / "pictures" / contents(folder)["gradcam"][str(index)])
        distances = []
        for classes in (1 - labels, labels):
            maps = gradcam(model, images, classes)
            assert maps is not None
            save_jpeg(tmp_path / "expected.jpg", overlay(thumbnails(images), maps)[number])
            distances.append(np.abs(file - read(tmp_path / "expected.jpg")).mean())
        assert distances[0] < 1
        assert distances[1] > 3


def test_a_map_of_one_place_is_no_picture(keras_side: Any) -> None:
    """Runs of 32 pixels."""
    assert set(contents(keras_side.run)) == {"image_size", "images", "augmented"}
    assert not (keras_side.run / "pictures/gradcam").exists()


def test_a_run_without_augmentation_has_no_grid(keras_side: Any) -> None:
    assert set(contents(keras_side.folder / "plain")) == {"image_size", "images", "gradcam"}
    assert not (keras_side.folder / "plain/pictures/augmented.jpg").exists()


def test_the_grid_of_a_run_is_that_of_lightning_tl(keras_side: Any, lightning_run: Path) -> None:
    theirs, mine = (contents(run)["augmented"] for run in (keras_side.run, lightning_run))
    assert theirs == mine
    assert theirs["columns"] == ["original", "epoch 0", "epoch 1"]
    one, other = (read(run / "pictures" / theirs["file"]) for run in (keras_side.run, lightning_run))
    assert np.abs(one - other).mean() < 1  # a pixel on the border of two integers


def test_the_report_of_a_run_shows_them(keras_side: Any, tmp_path: Path) -> None:
    folder = keras_side.folder / "stock"
    run = read_run(folder)
    with (folder / "predictions.csv").open(newline="") as file:
        wrong = [row for row in csv.DictReader(file) if row["label"] != row["predicted"]]
    assert wrong
    pictures = Pictures(run)
    assert pictures.explained
    assert all(pictures.gradcam(row["split"], row["path"]) for row in wrong)
    assert len(contents(folder)["gradcam"]) == len(wrong)
    page = write_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Beside a mistake, its Grad-CAM overlay" in page
    assert "Columns: original, draw 0, draw 1. Training had other draws of the same kind." in page
