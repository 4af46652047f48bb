"""One picture in two splits or classes is found, whether its bytes are the same or not; different ones are not."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from reported import draw

from lightning_tl.report import duplicates
from lightning_tl.report.duplicates import Group, shared_images


def test_copies_across_splits_are_shared(tmp_path: Path) -> None:
    draw(tmp_path, ["a/0.png", "a/1.png", "b/2.png"])
    for copy in ("b/of0.png", "a/again1.png"):
        source = "a/0.png" if "0" in copy else "a/1.png"
        shutil.copy(tmp_path / source, tmp_path / copy)
    same_size = bytearray((tmp_path / "b/2.png").read_bytes())
    same_size[-20] ^= 1  # a checksum: no decoder takes the picture, and its bytes are others
    (tmp_path / "b/almost2.png").write_bytes(same_size)
    train = [("train", name, "a") for name in ("a/0.png", "a/1.png", "a/again1.png", "b/2.png")]
    held_out = [("val", "b/of0.png", "b"), ("val", "b/almost2.png", "b"), ("test", "none.png", "b")]
    groups, unread = shared_images([*train, *held_out], tmp_path)
    assert groups == [Group((train[0], held_out[0]), same_bytes=True)]
    assert unread == 1


def test_the_same_bytes_in_two_classes_of_one_split_are_found(tmp_path: Path) -> None:
    draw(tmp_path, ["a/0.png"])
    for copy in ("a/1.png", "b/0.png"):
        (tmp_path / copy).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "a/0.png", tmp_path / copy)
    samples = [("train", "a/0.png", "a"), ("train", "a/1.png", "a")]
    assert shared_images(samples, tmp_path) == ([], 0)
    samples.append(("train", "b/0.png", "b"))
    ((group,), _) = shared_images(samples, tmp_path)
    assert group == Group(tuple(samples), same_bytes=True)
    assert (group.leaks, group.clashes) == (False, True)


def test_a_picture_saved_anew_is_the_same_picture(tmp_path: Path) -> None:
    """With its copy it is one group of pictures that look the same."""
    draw(tmp_path, ["a/0.png", "a/1.png"], size=(6, 5))
    smooth = Image.open(tmp_path / "a/0.png").resize((480, 400), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a/0.png")
    smooth.resize((160, 120)).save(tmp_path / "a/small.jpg", quality=60)
    shutil.copy(tmp_path / "a/0.png", tmp_path / "a/copy.png")
    train = [("train", "a/0.png", "a"), ("train", "a/1.png", "a")]
    held_out = [("val", "a/small.jpg", "a"), ("test", "a/copy.png", "a")]
    groups, unread = shared_images([*train, *held_out], tmp_path)
    assert groups == [Group((train[0], *held_out), same_bytes=False)]
    assert unread == 0


def test_looks_are_not_compared_among_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path, ["a/0.png"])
    Image.open(tmp_path / "a/0.png").save(tmp_path / "a/0.bmp")
    samples = [("train", "a/0.png", "a"), ("val", "a/0.bmp", "a")]
    assert shared_images(samples, tmp_path) == ([Group(tuple(samples), same_bytes=False)], 0)
    monkeypatch.setattr(duplicates, "LOOKED_AT", 1)
    assert shared_images(samples, tmp_path) == ([], 0)


def test_names_that_leave_the_root_are_not_read(tmp_path: Path) -> None:
    draw(tmp_path, ["x.png"])
    (tmp_path / "root").mkdir()
    samples = [("train", "../x.png", "a"), ("val", os.fspath(tmp_path / "x.png"), "a")]
    assert shared_images(samples, tmp_path / "root") == ([], 2)


def test_many_images_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(duplicates, "MANY", 1)
    shared_images([("train", "a", "a"), ("val", "b", "a")], tmp_path)
    assert capsys.readouterr().err == "lightning-tl: comparing 2 images for duplicates ...\n"
