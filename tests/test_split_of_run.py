"""The images that a run held out stay those, wherever they and the run have gone since."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from calling import fails, in_table, run, short_fit
from training import draw_images

RESUME = ("fit", "--config", "config.yaml", "--ckpt_path", "last", "--trainer.default_root_dir", "run")


@pytest.fixture(scope="module")
def divided_by_keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a run on them."""
    folder = tmp_path_factory.mktemp("keras")
    draw_images(folder / "images")
    short_fit(folder, root="images", split="keras", val_fraction=0.3)
    return folder


@pytest.fixture
def moved(divided_by_keras: Path, tmp_path: Path) -> Path:
    """A copy of the images, and as many new ones."""
    shutil.copytree(divided_by_keras / "images", tmp_path / "moved")
    for path in list((tmp_path / "moved").rglob("*.png")):
        shutil.copy(path, path.with_stem(f"{path.stem}_new"))
    return tmp_path / "moved"


def words(command: str, folder: Path, root: Path) -> tuple[str | Path, ...]:
    return (command, "--ckpt_path", folder / "run/checkpoints/best.ckpt", "--data.root", root)


def test_moved_images_with_new_ones_among_them_are_divided_as_before(divided_by_keras: Path, moved: Path) -> None:
    """Keras divides a list of files: with new ones, it would hold out others, which were trained on."""
    loss = json.loads((divided_by_keras / "run/results.json").read_text())["test"]["loss"]
    done = run(*words("test", divided_by_keras, moved), cwd=moved.parent)
    assert done.out.startswith("data: 30 images of 3 classes (blue, green, red): 21 train, 9 val\n")
    assert in_table(done, "test_loss") == pytest.approx(loss, rel=1e-5)
    everything = run(*words("test", divided_by_keras, moved), "--data.split", "all", cwd=moved.parent)
    assert f"test: all 60 images of {moved}\n" in everything.out


def test_measuring_what_was_trained_on_is_told(divided_by_keras: Path) -> None:
    own = words("test", divided_by_keras, divided_by_keras / "images")
    with pytest.warns(UserWarning, match=r"data.split: all: the run was trained on 21 of these images, and knows them"):
        run(*own, "--data.split", "all", cwd=divided_by_keras)


def other_division(folder: Path, name: str) -> str:
    """A split file of the same images, in which all that were trained on are held out, and the others trained on."""
    swapped = {"train": "val", "val": "train"}
    header, *rows = (folder / "run/split.csv").read_text().splitlines()
    place = header.split(",").index("split")
    lines = [[*cells[:place], swapped[cells[place]], *cells[place + 1 :]] for cells in (row.split(",") for row in rows)]
    (folder / name).write_text("\n".join([header, *(",".join(cells) for cells in lines)]) + "\n")
    return str(folder / name)


def test_a_split_file_that_measures_what_was_trained_on_is_told(divided_by_keras: Path) -> None:
    file = other_division(divided_by_keras, "measured.csv")
    own = words("test", divided_by_keras, divided_by_keras / "images")
    with pytest.warns(UserWarning, match=r"the run was trained on 21 of the 21 images that are measured, and knows"):
        run(*own, "--data.split", file, cwd=divided_by_keras)


def test_a_run_does_not_go_on_with_what_it_knows_held_out(divided_by_keras: Path, tmp_path: Path) -> None:
    shutil.copytree(divided_by_keras, tmp_path / "copy")
    folder = tmp_path / "copy"
    file, before = other_division(folder, "resumed.csv"), (folder / "run/split.csv").read_text()
    message = fails(*RESUME, "--data.split", file, "--phases+", "{name: more, epochs: 1, lr: 1.0e-3}", cwd=folder)
    assert "data.split: the run was trained on 21 of the 21 images that would be held out now, as" in message
    assert (folder / "run/split.csv").read_text() == before


def test_a_part_of_the_images_of_the_run_is_not_divided_anew(divided_by_keras: Path, moved: Path) -> None:
    (moved / "red/07.png").unlink()
    message = fails(*words("test", divided_by_keras, moved), cwd=moved.parent)
    assert "data.root: 29 of the 30 images that the run was trained on or held out are there" in message
    assert f"Received: '{moved}'; put the others back, or give a split file as data.split, or all to mea" in message
    run(*words("validate", divided_by_keras, moved), "--data.split", "all", cwd=moved.parent)


def test_other_images_are_divided_anew(divided_by_keras: Path, moved: Path) -> None:
    for path in list(moved.rglob("??.png")):
        path.unlink()
    done = run(*words("test", divided_by_keras, moved), cwd=moved.parent)
    assert f"test: the 9 images of split val of {moved}, which has no test split\n" in done.out


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one epoch that was resumed for another, by a config that does not say how to divide."""
    folder = tmp_path_factory.mktemp("resumed") / "old"
    draw_images(folder / "images")
    short_fit(folder, root="images", split="keras", val_fraction=0.3)
    config: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    config["phases"][0]["epochs"] = 2
    del config["data"]["split"], config["data"]["val_fraction"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run(*RESUME, cwd=folder)
    return folder


def test_the_config_of_a_resumed_run_tells_how_it_was_divided(resumed: Path) -> None:
    written = yaml.safe_load((resumed / "run/config.yaml").read_text())["data"]
    assert (written["split"], written["val_fraction"], written["test_fraction"]) == ("keras", 0.3, 0.0)


def test_resuming_with_another_fraction_is_refused(resumed: Path) -> None:
    message = fails(*RESUME, "--data.val_fraction", "0.5", cwd=resumed)
    assert "data.val_fraction: the run has divided these images with 0.3 and keeps to that. Received: 0.5" in message


def test_a_resumed_run_moves_with_its_split(resumed: Path) -> None:
    """Its checkpoints name the file by the place where it was."""
    words = ("--ckpt_path", "run/checkpoints/last.ckpt", "--data.root", "images")
    loss = in_table(run("validate", *words, cwd=resumed), "val_loss")
    moved = resumed.rename(resumed.with_name("new"))
    shutil.copy(moved / "images/red/00.png", moved / "images/red/new.png")
    done = run("validate", *words, cwd=moved)
    assert in_table(done, "val_loss") == pytest.approx(loss, rel=1e-6)
    assert "validate: the 9 images of split val of images\n" in done.out
    done = run("fit", "--config", "run/config.yaml", *words, cwd=moved)
    assert done.out.startswith("data: 30 images of 3 classes (blue, green, red): 21 train, 9 val\n")
