"""Pictures come from the run folder, else from the originals; no file can break the page or leave its folder."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reported import draw, rows_of, write_run

from lightning_tl.data.decode import decode_image
from lightning_tl.report.pictures import SIDE, Pictures, below, find_root, small_jpeg, small_picture
from lightning_tl.report.run import read_run


def size_of(jpeg: bytes | None) -> tuple[int, int]:
    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
        return image.size


def test_originals_are_made_small(tmp_path: Path) -> None:
    draw(tmp_path / "images", ["a/0.png", "a/1.jpg"], size=(400, 200))
    for name in ("a/0.png", "a/1.jpg"):
        jpeg = small_jpeg(tmp_path / "images" / name, SIDE)
        assert size_of(jpeg) == (SIDE, SIDE // 2)
    draw(tmp_path / "images", ["small.png"], size=(20, 10))
    assert size_of(small_jpeg(tmp_path / "images" / "small.png", SIDE)) == (20, 10)


def test_orientation_is_applied_and_metadata_left_behind(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # turned by a quarter; make
    Image.new("RGB", (300, 200), "red").save(tmp_path / "x.jpg", exif=exif)
    jpeg = small_jpeg(tmp_path / "x.jpg", SIDE)
    assert size_of(jpeg) == (75, SIDE)
    assert b"camera" not in (jpeg or b"")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16", "CMYK"])
def test_every_kind_of_pixels_becomes_a_jpeg(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new(mode, (30, 30)).save(path)
    assert size_of(small_jpeg(path, SIDE)) == (30, 30)


def test_sixteen_bits_of_grey_are_seen_as_training_sees_them(tmp_path: Path) -> None:
    """Pillow's own conversion cuts at 255 of 65535."""
    grey = np.linspace(0, 65535, 30 * 30).astype(np.uint16).reshape(30, 30)
    Image.fromarray(grey).save(tmp_path / "x.png")
    picture = small_picture(tmp_path / "x.png", SIDE)
    assert picture is not None
    assert np.array_equal(np.asarray(picture), decode_image(tmp_path / "x.png").permute(1, 2, 0).numpy())


def test_what_is_no_image_is_no_picture(tmp_path: Path) -> None:
    whole = (draw(tmp_path, ["x.png"]) / "x.png").read_bytes()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    huge = whole[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + whole[33:]
    for number, content in enumerate([b"", b"nothing", whole[:200], huge, b"%!PS-Adobe-3.0 EPSF-3.0\n"]):
        path = tmp_path / f"{number}.png"
        path.write_bytes(content)
        assert small_jpeg(path, SIDE) is None, number
    assert small_jpeg(tmp_path, SIDE) is None
    assert small_jpeg(tmp_path / ("x" * 300), SIDE) is None


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "", "a\0b"])
def test_names_stay_below_their_folder(tmp_path: Path, name: str) -> None:
    assert below(tmp_path, name) is None


def test_the_runs_own_pictures_come_first(tmp_path: Path) -> None:
    rows = rows_of(each=2)
    root = draw(tmp_path / "images", [row[1] for row in rows])
    folder = write_run(tmp_path / "run", rows, root=root, train=[("train", "daisy/9.png", "daisy")])
    Image.new("RGB", (60, 30)).save(draw(folder / "pictures", ["images/1.jpg"]) / "images" / "1.jpg")
    draw(folder / "pictures", ["gradcam/2.jpg", "augmented.jpg"], size=(64, 64))
    draw(folder, ["outside.jpg"])
    manifest = {
        "images": {"1": "images/1.jpg", "3": "../outside.jpg", "4": 5},
        "gradcam": {"2": "gradcam/2.jpg"},
        "augmented": {"file": "augmented.jpg", "rows": [0, 1, 99], "columns": ["original", "epoch 0"]},
    }
    (folder / "pictures" / "pictures.json").write_text(json.dumps(manifest))
    pictures = Pictures(read_run(folder))
    assert pictures.explained
    assert size_of(pictures.thumbnail("val", "daisy/0.png")) == (60, 30)  # row 1 of split.csv, counted from 0
    assert size_of(pictures.thumbnail("val", "daisy/1.png")) == (48, 40)
    assert size_of(pictures.thumbnail("val", "rose/0.png")) == (48, 40)
    assert size_of(pictures.gradcam("val", "daisy/1.png")) == (64, 64)
    assert pictures.gradcam("val", "daisy/0.png") is None
    grid = pictures.augmented()
    assert grid is not None
    assert (grid.rows, grid.columns, grid.size) == (("daisy", "daisy", "99"), ("original", "epoch 0"), (64, 64))


@pytest.mark.parametrize("text", ["", "[1]", '{"images": 3, "gradcam": null, "augmented": {"file": "none.jpg"}}'])
def test_a_broken_list_of_pictures_is_none(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path / "run", rows_of())
    (folder / "pictures").mkdir()
    (folder / "pictures" / "pictures.json").write_text(text)
    pictures = Pictures(read_run(folder))
    assert pictures.root is None
    assert pictures.thumbnail("val", "daisy/0.png") is None
    assert pictures.gradcam("val", "daisy/0.png") is None
    assert pictures.augmented() is None


def test_a_relative_root_is_found_from_above_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "images", ["daisy/0.png"])
    folder = write_run(tmp_path / "runs" / "one", rows_of(), root="images")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_root(read_run(folder)) == tmp_path / "images"
    (tmp_path / "images" / "daisy" / "0.png").unlink()
    assert find_root(read_run(folder)) is None
