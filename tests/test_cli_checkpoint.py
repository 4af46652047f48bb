"""``validate``, ``test`` and ``predict``, which need a checkpoint and little else."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import fails, in_table, run, short_fit
from PIL import Image
from training import draw_images


def test_predict_needs_a_checkpoint_and_images_and_nothing_else(workplace: Path, tmp_path: Path) -> None:
    checkpoint = workplace / "run/checkpoints/best.ckpt"
    run("predict", "--ckpt_path", checkpoint, "--data.root", workplace / "images", cwd=tmp_path)
    with (tmp_path / "runs" / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 30
    assert {row["split"] for row in rows} == {"predict"}
    text = (workplace / "run/predictions.csv").read_text()
    held_out = {row["path"]: row for row in csv.DictReader(io.StringIO(text))}
    same = [row for row in rows if Path(row["path"]).relative_to(workplace / "images").as_posix() in held_out]
    assert len(same) == 6
    for row in same:
        known = held_out[Path(row["path"]).relative_to(workplace / "images").as_posix()]
        assert float(row["probability_red"]) == pytest.approx(float(known["probability_red"]), abs=1e-5)


@pytest.mark.parametrize("command", ["validate", "test"])
def test_validate_and_test_use_the_split_of_the_run(workplace: Path, command: str) -> None:
    done = run(command, "--ckpt_path", "run/checkpoints/best.ckpt", cwd=workplace)
    results = json.loads((workplace / "run/results.json").read_text())
    stage = "val" if command == "validate" else "test"
    line = next(line for line in done.out.splitlines() if f"{stage}_accuracy" in line)
    assert float(line.replace("│", " ").split()[-1]) == pytest.approx(results["test"]["accuracy"], abs=1e-6)
    # the whole config is accepted too
    run(command, "--config", "run/config.yaml", "--ckpt_path", "best", cwd=workplace)


@pytest.mark.parametrize("command", ["validate", "test"])
def test_the_table_is_left_out_when_asked(workplace: Path, command: str) -> None:
    words = (command, "--ckpt_path", "run/checkpoints/best.ckpt")
    assert "_accuracy" in run(*words, cwd=workplace).out
    assert "_accuracy" not in run(*words, "--verbose", "false", cwd=workplace).out


def test_predict_takes_no_option_that_it_would_ignore(workplace: Path) -> None:
    words = ("predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--data.root", "images")
    assert "return_predictions" in fails(*words, "--return_predictions", "true", cwd=workplace)


def test_other_images_are_measured_whole_when_asked_and_what_is_measured_is_told(
    workplace: Path, tmp_path: Path
) -> None:
    draw_images(tmp_path / "others", count=20)
    words = ("--ckpt_path", workplace / "run/checkpoints/best.ckpt", "--data.root", "others")
    divided = run("test", *words, cwd=tmp_path)
    assert divided.out.startswith(
        "data: 60 images of 3 classes (blue, green, red): 48 train, 12 val\n"
        "test: the 12 images of split val of others, which has no test split\n"
    )
    for command in ("validate", "test"):
        done = run(command, *words, "--data.split", "all", cwd=tmp_path)
        lines = ["data: 60 images of 3 classes (blue, green, red): not divided", f"{command}: all 60 images of others"]
        assert done.out.splitlines()[:2] == lines
    run("predict", *words, "--data.split", "all", "--trainer.default_root_dir", "predicted", cwd=tmp_path)
    with (tmp_path / "predicted/predictions.csv").open(newline="") as stream:
        hits = [row["predicted"] == Path(row["path"]).parent.name for row in csv.DictReader(stream)]
    assert in_table(done, "test_accuracy") == pytest.approx(sum(hits) / 60)
    limited = run("test", *words, "--data.split", "all", "--trainer.limit_test_batches", "1", cwd=tmp_path)
    assert "test: all 60 images of others (trainer.limit_test_batches: 1)\n" in limited.out


def test_a_split_file_of_test_images_alone_is_enough_to_test(workplace: Path, tmp_path: Path) -> None:
    names = [f"{label}/{n:02}.png" for label in ("blue", "green", "red") for n in range(4)]
    rows = "".join(f"test,{name},{name.split('/')[0]}\n" for name in names)
    (tmp_path / "only.csv").write_text("split,path,label\n" + rows)
    words = ("--ckpt_path", workplace / "run/checkpoints/best.ckpt", "--data.root", workplace / "images")
    with pytest.warns(UserWarning, match=r"the run was trained on \d+ of the 12 images that are measured"):
        done = run("test", *words, "--data.split", "only.csv", cwd=tmp_path)
    assert f"test: the 12 images of split test of {workplace / 'images'}\n" in done.out
    assert "leaves split val empty" in fails("validate", *words, "--data.split", "only.csv", cwd=tmp_path)


@pytest.mark.parametrize("options", [{"test_fraction": 0.2}, {"split": "keras"}], ids=["stratified", "keras"])
def test_the_held_out_images_are_those_of_the_run_however_its_root_is_written(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """The loss tells which images were scored: other seeds, fractions and methods hold out others."""
    draw_images(tmp_path / "images")
    checkpoint = short_fit(tmp_path, root="images", val_fraction=0.3, **options)
    loss = pytest.approx(json.loads((tmp_path / "run/results.json").read_text())["test"]["loss"], rel=1e-5)
    # The images have moved, and the checkpoint is all there is of the run.
    shutil.copytree(tmp_path / "images", tmp_path / "elsewhere/moved")
    shutil.copy(checkpoint, tmp_path / "elsewhere")
    alone = ("test", "--ckpt_path", "best.ckpt", "--data.root", "moved")
    assert in_table(run(*alone, cwd=tmp_path / "elsewhere"), "test_loss") == loss
    # New images would be divided anew; those of the run stay as its split.csv says.
    for path in (tmp_path / "images").rglob("*.png"):
        shutil.copy(path, path.with_stem(f"{path.stem}_new"))
    command = ("test", "--ckpt_path", checkpoint)
    for root in ("images", "./images", "images/", tmp_path / "images"):
        assert in_table(run(*command, "--data.root", root, cwd=tmp_path), "test_loss") == loss, root
    assert in_table(run(*command, cwd=tmp_path / "elsewhere"), "test_loss") == loss


def test_images_are_resized_as_the_run_has_resized_them(tmp_path: Path) -> None:
    """By every command, of a folder and of paths, though the checkpoint is all that they are given."""
    generator = np.random.default_rng(0)
    for name in ("blue", "red"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            pixels = generator.integers(0, 256, (40, 90, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    checkpoint = short_fit(tmp_path, root="images", val_fraction=0.5, resize="crop", antialias=True)
    loss = json.loads((tmp_path / "run/results.json").read_text())["test"]["loss"]
    assert in_table(run("test", "--ckpt_path", checkpoint, cwd=tmp_path), "test_loss") == pytest.approx(loss, rel=1e-5)
    words = ("--ckpt_path", checkpoint, "--trainer.accelerator", "cpu", "--data.num_workers", "0")
    run("predict", "images", "--output", "paths.csv", *words, cwd=tmp_path)
    run("predict", "--data.root", "images", *words, cwd=tmp_path)
    known = of_red(tmp_path / "run/predictions.csv")
    for file in ("paths.csv", "runs/predictions.csv"):
        found = of_red(tmp_path / file)
        assert len(found) == 12
        assert {name: found[name] for name in known} == pytest.approx(known, abs=1e-6), file


def of_red(predictions: Path) -> dict[str, float]:
    """The probability of a class, by an image's folder and name."""
    with predictions.open(newline="") as stream:
        return {"/".join(Path(row["path"]).parts[-2:]): float(row["probability_red"]) for row in csv.DictReader(stream)}


@pytest.mark.parametrize("command", ["fit", "test"])
def test_another_way_of_dividing_the_same_images_is_refused(workplace: Path, command: str) -> None:
    words = ("--config", "config.yaml", "--data.root", "images", "--ckpt_path", "run/checkpoints/last.ckpt")
    message = fails(command, *words, "--data.split", "keras", cwd=workplace)
    assert "data.split: the run has divided these images by stratified and keeps to that. Received: keras" in message


def test_predict_takes_a_folder_of_images_after_training_on_a_torchvision_dataset(
    workplace: Path, tmp_path: Path
) -> None:
    arguments = {"size": 30, "image_size": [3, 32, 32], "num_classes": 3}
    checkpoint = short_fit(tmp_path, dataset="torchvision.datasets.FakeData", dataset_args=arguments)
    run("predict", "--ckpt_path", checkpoint, "--data.root", workplace / "images", cwd=tmp_path)
    with (tmp_path / "runs/predictions.csv").open(newline="") as stream:
        paths = {Path(row["path"]) for row in csv.DictReader(stream)}
    assert paths == set((workplace / "images").rglob("*.png"))
    # Without a root, the part of the data set that the run held out.
    run("predict", "--ckpt_path", checkpoint, cwd=tmp_path)
    with (tmp_path / "runs/run_1/predictions.csv").open(newline="") as stream:
        predicted = [row["path"] for row in csv.DictReader(stream)]
    with (tmp_path / "run/split.csv").open(newline="") as stream:
        assert predicted == [row["path"] for row in csv.DictReader(stream) if row["split"] == "val"]


def test_a_checkpoint_of_the_demo_needs_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    limits = [f"--trainer.limit_{stage}_batches=2" for stage in ("train", "val")]
    checkpoint = short_fit(tmp_path, *limits, dataset="lightning_tl.data.digits.Digits", batch_size=64)
    loss = json.loads((tmp_path / "run/results.json").read_text())["test"]["loss"]
    for command in ("validate", "test"):
        done = run(command, "--ckpt_path", checkpoint, cwd=tmp_path)
        assert in_table(done, "_loss") == pytest.approx(loss, rel=1e-5)
    run("predict", "--ckpt_path", checkpoint, cwd=tmp_path)
    assert (tmp_path / "runs/predictions.csv").is_file()


def test_a_folder_is_measured_after_training_on_a_data_set(workplace: Path, tmp_path: Path) -> None:
    checkpoint = short_fit(
        tmp_path,
        dataset="torchvision.datasets.FakeData",
        dataset_args={"size": 30, "image_size": [3, 32, 32], "num_classes": 3},
    )
    for number, folder in enumerate(sorted((workplace / "images").iterdir())):
        shutil.copytree(folder, tmp_path / "mine" / str(number))
    words = ("--ckpt_path", checkpoint, "--data.root", "mine", "--data.split", "all")
    assert "all 30 images of mine" in run("test", *words, cwd=tmp_path).out


def test_the_root_of_the_runs_data_set_may_be_given_again(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    checkpoint = short_fit(tmp_path, dataset="torchvision.datasets.ImageFolder", root="images")
    words = ("test", "--ckpt_path", checkpoint, "--data.root", "images")
    assert "of split val of torchvision.datasets.ImageFolder" in run(*words, cwd=tmp_path).out


@pytest.mark.parametrize("command", ["validate", "test"])
def test_other_fractions_than_the_runs_are_refused(workplace: Path, command: str) -> None:
    words = (command, "--ckpt_path", "run/checkpoints/best.ckpt", "--data.test_fraction", "0.5")
    assert "data.test_fraction: the run has divided these images with 0.0" in fails(*words, cwd=workplace)
