"""The same files, labels, order and pixels as in lightning_tl, read without torch."""

import os
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from keras_ref.data import decode as theirs
from keras_ref.data import open_source
from keras_ref.data.split_file import write_split
from keras_ref.errors import InputError
from keras_ref.options import DATASET, DataConfig
from lightning_tl.data import ImageFolderDataModule
from lightning_tl.data import decode as ours
from lightning_tl.data.digits import Digits

SPLITS = (
    {"split": "stratified", "val_fraction": 0.3},
    {"split": "stratified", "val_fraction": 0.2, "test_fraction": 0.3},
    {"split": "keras", "val_fraction": 0.25},
)


def rows(samples: object) -> list[tuple[str, str, str]]:
    return [astuple(sample) for sample in samples]  # type: ignore[attr-defined]


@pytest.mark.parametrize("options", SPLITS, ids=lambda options: f"{options['split']}-{len(options)}")
@pytest.mark.parametrize("seed", [0, 7])
def test_folders_are_divided_alike(image_folder: Callable[..., Path], options: dict, seed: int) -> None:
    root = str(image_folder({"ants": 9, "bees": 7, "wasps/deep": 5}))
    source = open_source(DataConfig(root=root, **options), seed)
    module = ImageFolderDataModule(root=root, seed=seed, **options)
    assert rows(source.samples) == rows(module.samples)
    assert source.class_names == module.class_names
    assert source.test_split == module.test_split


def test_split_folders_are_used_as_they_are(image_folder: Callable[..., Path]) -> None:
    root = str(image_folder({"train/a": 3, "train/b": 2, "val/a": 2, "val/b": 1}))
    source = open_source(DataConfig(root=root), seed=0)
    assert rows(source.samples) == rows(ImageFolderDataModule(root=root).samples)
    assert source.indices("val").tolist() == [5, 6, 7]
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 0, 0, 1]


def test_splits_by_other_names_are_refused_in_the_same_words(image_folder: Callable[..., Path]) -> None:
    root = str(image_folder({f"{split}/{name}": 3 for split in ("Training", "Testing") for name in "ab"}))
    with pytest.raises(InputError, match="'Training' to train") as mine:
        open_source(DataConfig(root=root), seed=0)
    with pytest.raises(ValueError, match="'Training' to train") as others:
        _ = ImageFolderDataModule(root=root).class_names
    assert str(mine.value) == str(others.value)


def test_a_split_file_is_read_back(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = str(image_folder({"a": 4, "b": 4}))
    samples = open_source(DataConfig(root=root, val_fraction=0.5), seed=3).samples
    write_split(tmp_path / "split.csv", samples)
    again = open_source(DataConfig(root=root, split=str(tmp_path / "split.csv")), seed=99).samples
    assert rows(again) == rows(samples)


@pytest.mark.parametrize("options", [{}, {"val_fraction": 0.3, "test_fraction": 0.2}], ids=["val", "val and test"])
def test_digits_have_the_same_pixels_and_split(options: dict) -> None:
    source = open_source(DataConfig(dataset=DATASET, **options), seed=3)
    module = ImageFolderDataModule(dataset=DATASET, seed=3, **options)
    assert rows(source.samples) == rows(module.samples)
    assert (source.class_names, source.test_split) == (module.class_names, module.test_split)
    images = {f"train/{number}": np.asarray(image) for number, (image, _) in enumerate(Digits())}
    assert len(images) == len(source.samples) == 1797
    for sample in source.samples:
        np.testing.assert_array_equal(source.read(sample.path), images[sample.path])


def test_a_split_file_of_the_digits_is_read_back(tmp_path: Path) -> None:
    samples = open_source(DataConfig(dataset=DATASET), seed=3).samples
    write_split(tmp_path / "split.csv", samples)
    options = DataConfig(dataset=DATASET, split=str(tmp_path / "split.csv"))
    assert rows(open_source(options, seed=99).samples) == rows(samples)
    write_split(tmp_path / "split.csv", [replace(sample, path=f"x/{sample.path}") for sample in samples])
    with pytest.raises(InputError, match="another data set"):
        open_source(options, seed=99)


def test_bad_images_are_named_or_left_out(image_folder: Callable[..., Path]) -> None:
    root = image_folder({"a": 4, "b": 4})
    (root / "a" / "text.jpg").write_text("no image")
    with pytest.raises(InputError, match=r"a/text\.jpg"):
        open_source(DataConfig(root=str(root)), seed=0)
    source = open_source(DataConfig(root=str(root), on_bad_image="skip"), seed=0)
    assert len(source.samples) == 8


def test_a_class_whose_images_are_all_left_out_is_an_error_on_both_sides(image_folder: Callable[..., Path]) -> None:
    root = image_folder({"a": 4, "b": 4, "c": 1})
    (root / "c" / "000.jpg").write_text("no image")
    said = []
    for find in (
        lambda: open_source(DataConfig(root=str(root), on_bad_image="skip"), seed=0),
        lambda: ImageFolderDataModule(root=str(root), on_bad_image="skip").samples,
    ):
        with pytest.raises(ValueError, match=r"data.on_bad_image: no image of 'c' can be decoded.*Replace") as caught:
            find()
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("split", ["stratified", "keras"])
@pytest.mark.parametrize("unreadable", [".", "a", "b/deep"])
def test_a_folder_that_cannot_be_read_is_named(
    image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, split: str, unreadable: str
) -> None:
    """Its images would be missing without a word."""
    root = image_folder({"a": 2, "b": 2, "b/deep": 2})
    for name in ("scandir", "listdir"):  # root may read every folder
        monkeypatch.setattr(os, name, refusing(getattr(os, name), root / unreadable))
    message = rf"data.root: the folder '{root / unreadable}' cannot be read: Permission denied\. Let it be read"
    with pytest.raises(InputError, match=message):
        open_source(DataConfig(root=str(root), split=split), seed=0)


def refusing(listing: Callable[[str | Path], object], folder: Path) -> Callable[[str | Path], object]:
    """``listing`` that may not read a folder."""

    def refuse(path: str | Path) -> object:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    return refuse


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(20, 20), (31, 17), (64, 96)])
def test_resizing_gives_the_same_pixels(mode: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (45, 58, 3), dtype=np.uint8)
    expected = ours.resize_image(torch.from_numpy(image).permute(2, 0, 1).contiguous(), size, mode)
    np.testing.assert_array_equal(theirs.resize_image(image, size, mode), expected.permute(1, 2, 0))


def test_antialiased_resizing_is_within_one_grey_level() -> None:
    """Both sum the same weighted pixels in float32 in an order of their own: a tie may round either way."""
    image = np.random.default_rng(1).integers(0, 256, (45, 58, 3), dtype=np.uint8)
    expected = ours.resize_image(torch.from_numpy(image).permute(2, 0, 1).contiguous(), (20, 21), antialias=True)
    received = theirs.resize_image(image, (20, 21), antialias=True)
    difference = np.abs(received.astype(int) - expected.permute(1, 2, 0).numpy())
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "x.jpg"),
        ("L", "x.jpg"),
        ("RGB", "x.png"),
        ("RGBA", "x.png"),
        ("P", "x.png"),
        ("L", "x.png"),
        ("LA", "x.png"),
        ("I;16", "x.png"),
        ("RGB", "x.bmp"),
        ("P", "x.gif"),
        ("RGB", "x.webp"),
    ],
)
def test_every_kind_of_file_gives_the_same_pixels(tmp_path: Path, mode: str, name: str) -> None:
    coarse = np.random.default_rng(3).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    pixels = coarse.repeat(7, axis=0).repeat(7, axis=1)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels[..., :3]).convert(mode)
    image.save(tmp_path / name)
    expected = ours.decode_image(tmp_path / name).permute(1, 2, 0)
    np.testing.assert_array_equal(theirs.decode_image(tmp_path / name), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_alike(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (3, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif)
    expected = ours.decode_image(tmp_path / "x.jpg").permute(1, 2, 0)
    np.testing.assert_array_equal(theirs.decode_image(tmp_path / "x.jpg"), expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, of the last of these
@pytest.mark.parametrize("exif", [b"junk", b"Exif\0\0XXXXXXXXXXXXXXXX", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_broken_exif_turns_and_refuses_nothing_on_either_side(tmp_path: Path, suffix: str, exif: bytes) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (3, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(tmp_path / f"x{suffix}", exif=exif)
    expected = ours.decode_image(tmp_path / f"x{suffix}").permute(1, 2, 0)
    np.testing.assert_array_equal(theirs.decode_image(tmp_path / f"x{suffix}"), expected)


def test_memory_that_runs_out_over_exif_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    monkeypatch.setattr("PIL.Image.Image.getexif", full)
    with pytest.raises(InputError, match="there is not enough memory to decode it"):
        theirs.decode_image(tmp_path / "x.png")


def test_photographs_give_the_same_pixels(assets: Path) -> None:
    paths = [
        *sorted((assets / "data" / "flowers").rglob("*.jpg"))[::100],
        *sorted((assets / "data" / "hymenoptera").rglob("*.jpg"))[::20],
    ]
    assert len(paths) > 40
    for path in paths:
        pixels, tensor = theirs.decode_image(path), ours.decode_image(path)
        np.testing.assert_array_equal(pixels, tensor.permute(1, 2, 0), err_msg=str(path))
        expected = ours.resize_image(tensor, (160, 160)).permute(1, 2, 0)
        np.testing.assert_array_equal(theirs.resize_image(pixels, (160, 160)), expected, err_msg=str(path))
