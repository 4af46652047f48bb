"""Split, decoding and resizing against keras.utils.image_dataset_from_directory itself, run once for all."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_tl.data.decode import decode_image, resize_image
from lightning_tl.data.split import keras_split

SIZES = [(160, 160), (96, 128), (225, 224), (24, 17)]
MODES = {"stretch": {}, "crop": {"crop_to_aspect_ratio": True}, "pad": {"pad_to_aspect_ratio": True}}
SPLITS = [(0.2, 0), (0.25, 123), (0.5, 2**32 - 1)]
ROUNDING = 0.5 + 1e-3
"""Ours is Keras' float rounded to an integer; 1e-3 for the order of float32 operations."""


def make_class_folders(root: Path) -> None:
    """Names on which a wrong sorting, walk or list of extensions would show. Keras lists without reading."""
    names = ["Rose/2.JPG", "Rose/10.png", "Rose/sub folder/1.jpeg", "Rose/sub-folder/9.bmp", "Rose/sub/8.gif"]
    names += ["Rose/._2.jpg", "Rose/skipped.webp", "Rose/.hidden/7.png", "daisy/skipped.txt", "été/ü.png"]
    names += [f"{flower}/{number}.jpg" for flower in ("daisy", "a b", "a-b", "été") for number in range(12)]
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (root / "loose.jpg").write_bytes(b"")
    (root / ".cache").mkdir()


def make_images(root: Path) -> None:
    """PNGs of many shapes: usual ones, and random ones on which the rounding of sides would show."""
    rng = np.random.default_rng(0)
    shapes = [(375, 500), (500, 375), (227, 227), (33, 100), (5, 3), (160, 160), (61, 487), (2000, 1500)]
    shapes += [(int(h), int(w)) for h, w in rng.integers(64, 400, (40, 2))]
    (root / "any").mkdir(parents=True)
    for number, shape in enumerate(shapes):
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"any/{number:02d}.png", compress_level=1)


def make_kinds(root: Path) -> None:
    """One size, lossless, every kind of pixel."""
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (20, 30, 4), dtype=np.uint8))
    (root / "any").mkdir(parents=True)
    for mode in ("RGBA", "RGB", "LA", "L", "P", "1"):
        image.convert("RGB").convert(mode).save(root / f"any/{mode}.png")
    image.save(root / "any/alpha.png")
    Image.fromarray(rng.integers(0, 2**16, (20, 30), dtype=np.uint16)).save(root / "any/16bit.png")
    image.convert("RGB").save(root / "any/image.bmp")
    frames = [image.convert("P"), image.rotate(180).convert("P")]
    frames[0].save(root / "any/image.gif", save_all=True, append_images=frames[1:])


def split_tasks(root: Path, name: str) -> list[dict[str, object]]:
    return [
        {
            "name": f"{name}/{fraction}/{seed}/{subset}",
            "images": False,
            "directory": str(root),
            "validation_split": fraction,
            "seed": seed,
            "subset": subset,
        }
        for fraction, seed in SPLITS
        for subset in ("training", "validation")
    ]


def image_task(root: Path, name: str, size: tuple[int, int], **options: object) -> dict[str, object]:
    task = {"name": name, "images": True, "directory": str(root), "image_size": size, "labels": None}
    return {**task, "shuffle": False, **options}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("keras")
    make_class_folders(root / "classes")
    make_images(root / "shapes")
    make_kinds(root / "kinds")
    return root


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Mapping[str, np.ndarray]:
    """What Keras gives. In a process of its own: TensorFlow and torch do not go well together in one."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed; image_dataset_from_directory needs it")
    tasks = split_tasks(folder / "classes", "classes")
    if assets := os.environ.get("LIGHTNING_TL_ASSETS"):
        tasks += split_tasks(Path(assets).resolve() / "data/flowers", "flowers")
    tasks += [
        image_task(folder / "shapes", f"{mode}/{size[0]}x{size[1]}", size, **options)
        for mode, options in MODES.items()
        for size in SIZES
    ]
    tasks.append(image_task(folder / "kinds", "kinds", (20, 30)))
    (folder / "tasks.json").write_text(json.dumps(tasks))
    script = Path(__file__).with_name("keras_images.py")
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(script), str(folder / "tasks.json"), str(folder / "out.npz")]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    with np.load(folder / "out.npz") as arrays:
        return dict(arrays)


def assert_same_split(theirs: Mapping[str, np.ndarray], root: Path, name: str) -> None:
    for fraction, seed in SPLITS:
        ours = keras_split(root, fraction, seed)
        for split, subset in (("train", "training"), ("val", "validation")):
            expected = [
                Path(path).relative_to(root).as_posix() for path in theirs[f"{name}/{fraction}/{seed}/{subset}/paths"]
            ]
            assert [sample.path for sample in ours if sample.split == split] == expected
            assert all(sample.label == sample.path.split("/")[0] for sample in ours)


def test_split_has_the_files_of_keras_in_their_order(theirs: Mapping[str, np.ndarray], folder: Path) -> None:
    assert_same_split(theirs, folder / "classes", "classes")


def test_split_of_flowers(theirs: Mapping[str, np.ndarray], assets: Path) -> None:
    assert_same_split(theirs, assets.resolve() / "data/flowers", "flowers")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_resize(theirs: Mapping[str, np.ndarray], mode: str, size: tuple[int, int]) -> None:
    name = f"{mode}/{size[0]}x{size[1]}"
    for path, expected in zip(theirs[f"{name}/paths"], theirs[f"{name}/images"], strict=True):
        ours = resize_image(decode_image(str(path)), size, mode)  # type: ignore[arg-type]
        difference = np.abs(ours.permute(1, 2, 0).numpy() - expected).max()
        assert difference <= ROUNDING, (path, difference)


def test_every_kind_of_lossless_pixel(theirs: Mapping[str, np.ndarray]) -> None:
    for path, expected in zip(theirs["kinds/paths"], theirs["kinds/images"], strict=True):
        assert np.array_equal(decode_image(str(path)).permute(1, 2, 0).numpy(), expected), path
