"""What the command refuses, and that nothing is left where it fails."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from training import draw_images

from lightning_tl import InputError, TransferClassifier
from lightning_tl.command import main
from lightning_tl.data.decode import decode_image, resize_image
from lightning_tl.data.split_file import read_split, write_split
from lightning_tl.export import keras_file, onnx_file, safetensors_file
from lightning_tl.export.export import export
from lightning_tl.export.images import Images, compared_images, given_images, held_out, run_images
from lightning_tl.export.origin import find_origin
from lightning_tl.export.plain_network import plain_network
from lightning_tl.export.request import Request
from lightning_tl.export.tolerances import Tolerance
from lightning_tl.export.verify import Runtime, VerificationError, compare, run_reader


def damage_onnx(path: Path) -> None:
    model = onnx.load(path)
    weight = next(weight for weight in model.graph.initializer if len(weight.dims) == 4)
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] += 0.1
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)


def damage_safetensors(path: Path) -> None:
    tensors = load_file(path)
    tensors["blocks.0.0.conv_dw.weight"].flatten()[0] += 0.1
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("module", "kind", "damage"),
    [
        pytest.param(onnx_file, "onnx", damage_onnx, marks=pytest.mark.slow),  # torch traces for long
        (safetensors_file, "safetensors", damage_safetensors),
    ],
    ids=["onnx", "safetensors"],
)
def test_a_file_with_one_wrong_weight_is_not_put_in_place(
    module: Any,
    kind: str,
    damage: Callable[[Path], None],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = module.write

    def write_wrong(path: Path, *others: Any) -> None:
        write(path, *others)
        damage(path)

    monkeypatch.setattr(module, "write", write_wrong)
    output = tmp_path / f"model.{kind}"
    output.write_bytes(b"from before")
    words = ["export", str(run / "checkpoints" / "best.ckpt"), "--format", kind, "--output", str(output), "--overwrite"]
    assert main(words) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"lightning-tl: error: {kind}: the exported file does not compute what it should")
    assert "the logits of " in line
    assert "allowed are 2e-05" in line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {output.name: b"from before"}


def test_what_a_runtime_cannot_open_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(VerificationError, match=r"onnxruntime cannot run it \(exit status 1\)(.|\n)*broken.onnx"):
        run_reader(onnx_file.RUNTIME, onnx_file.code(broken), np.zeros((1, 3, 32, 32), np.uint8))


def test_the_process_that_opens_a_file_knows_nothing_of_us() -> None:
    with pytest.raises(VerificationError, match="No module named 'lightning_tl.errors'"):
        run_reader(Runtime("python", ()), "import lightning_tl.errors", np.zeros((1, 3, 2, 2), np.uint8))


@pytest.mark.parametrize(
    ("found", "error", "image"),
    [
        ([[1.0, -4.0], [2.0, 0.0]], 0.0, "a"),
        ([[1.0, -4.0], [2.0, 0.1]], 0.025, "b"),
        ([[1.0, -4.0], [2.0, np.nan]], np.nan, "b"),
    ],
)
def test_errors_are_relative_to_the_largest_logit(found: list[list[float]], error: float, image: str) -> None:
    expected = np.array([[1.0, -4.0], [2.0, 0.0]], np.float32)
    answers = {"logits_one": np.float32(found[:1]), "logits_many": np.float32([*found, found[0]])}
    check = compare("r", "logits", Tolerance(0, ""), answers, expected, ["a", "b"])
    assert check.error == pytest.approx(error, nan_ok=True)
    assert check.image == image


def test_a_batch_that_is_not_dynamic_is_found() -> None:
    answers = {"logits_one": np.zeros((1, 2), np.float32), "logits_many": np.zeros((1, 2), np.float32)}
    with pytest.raises(VerificationError, match=r"shapes \(1, 2\) and \(1, 2\) for 1 and 4 images of 2 classes"):
        compare("r", "logits", Tolerance(0, ""), answers, np.zeros((3, 2), np.float32), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("name", "kind", "options", "message"),
    [
        ("model.pt", "onnx", {}, r"output: a file of format onnx ends in .onnx. Received: .*model.pt"),
        ("caf\udce9.pt2", "pt2", {}, "output: the runtimes need a name in UTF-8"),
        ("model.pt2", "pt2", {"int8": True}, "int8: for format onnx alone. Received: format pt2"),
        ("taken.pt2", "pt2", {}, "taken.pt2' exists already. Give another name, or --overwrite"),
        ("card.pt2", "pt2", {}, "card.pt2.md' exists already"),
        ("folder.pt2", "pt2", {"overwrite": True}, "folder.pt2' is a folder"),
    ],
)
def test_bad_outputs_are_refused(tmp_path: Path, name: str, kind: str, options: dict[str, bool], message: str) -> None:
    (tmp_path / "taken.pt2").touch()
    (tmp_path / "card.pt2.md").touch()
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(InputError, match=message):
        Request("best", kind, tmp_path / name, **options).check()


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"onnx needs onnxscript, onnxruntime.*pip install onnxscript onnxruntime"):
        Request("best", "onnx", tmp_path / "model.onnx").check()


def test_networks_that_a_format_cannot_hold_are_refused() -> None:
    options: dict[str, Any] = {"weights": "none", "image_size": 64}
    with pytest.raises(InputError, match="keras can hold MobileNetV2 alone.*Received: a checkpoint of timm/resnet10t"):
        keras_file.check_possible(TransferClassifier(["a", "b"], "timm/resnet10t", **options))
    with pytest.raises(
        InputError, match="networks that end in one linear layer, which timm/deit_tiny_distilled_.* does"
    ):
        plain_network(TransferClassifier(["a", "b"], "timm/deit_tiny_distilled_patch16_224", **options))


def test_images_that_are_gone_are_asked_for(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    moved = tmp_path / "moved"
    shutil.copytree(run.parent / "images", moved)
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["datamodule_hyper_parameters"]["root"] = str(tmp_path / "nowhere")
    torch.save(content, path)
    origin = find_origin(str(path), "runs")
    with pytest.raises(InputError, match=r"cannot be reached \(data.root .*nowhere' does not exist.*--images with any"):
        compared_images(origin, (32, 32))
    found = compared_images(origin, (32, 32), root=str(moved))
    assert (len(found), found.all().shape) == (8, (8, 3, 32, 32))
    given = compared_images(origin, (32, 32), [str(moved), str(next(moved.rglob("*.png")))])
    assert (len(given), set(given.labels)) == (41, {-1})
    with pytest.raises(InputError, match="images: .*nowhere' does not exist"):
        compared_images(origin, (32, 32), [str(tmp_path / "nowhere")])
    (tmp_path / "run" / "split.csv").unlink()
    others = draw_images(tmp_path / "others", ["ant", "bee"])
    with pytest.raises(InputError, match="the data has other classes than the checkpoint, among them '"):
        compared_images(origin, (32, 32), root=str(others))


def trained_on_a_foreign_data_set(run: Path, folder: Path) -> Path:
    """The best checkpoint of a copy of the run that tells of a data set of somebody's; its split.csv names places."""
    copy = shutil.copytree(run, folder / "run")
    path = copy / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    of_places = {"dataset": "a.package.Images", "root": None, "split": str(copy / "split.csv"), "test_fraction": 0.2}
    content["datamodule_hyper_parameters"] |= of_places
    torch.save(content, path)
    samples = read_split(copy / "split.csv", root=None)
    places = [replace(sample, path=f"{sample.split}/{number}") for number, sample in enumerate(samples)]
    write_split(copy / "split.csv", places)
    return path


def test_what_export_can_do_without_the_data_set_of_a_run(run: Path, tmp_path: Path) -> None:
    """It has no --data.dataset, which other commands are to be given then: other images, or a folder with the run's."""
    path, output = trained_on_a_foreign_data_set(run, tmp_path), tmp_path / "model.safetensors"
    with pytest.raises(
        InputError,
        match=r"'a.package.Images', which .* Give --data.root with .*class, or, without --int8, give --images",
    ):
        export(Request(str(path), "safetensors", output))
    export(Request(str(path), "safetensors", output, images=[str(run.parent / "images")]))
    card = output.with_name("model.safetensors.md")
    assert "Images: unknown" in card.read_text(encoding="utf-8")
    assert "40 images given with" in card.read_text(encoding="utf-8")
    export(Request(str(path), "safetensors", output, data_root=str(run.parent / "images"), overwrite=True))
    assert "the run may have been trained on any of them" in card.read_text(encoding="utf-8")


def test_a_folder_in_a_data_sets_place_is_divided_anew_and_it_says_so(run: Path, tmp_path: Path) -> None:
    """Which is all that --int8 can do: it takes images of train and of what was held out."""
    origin, folder = find_origin(str(trained_on_a_foreign_data_set(run, tmp_path)), "runs"), run.parent / "images"
    with pytest.raises(InputError, match="one folder a class.$"):
        run_images(origin, (32, 32))
    images = run_images(origin, (32, 32), str(folder))
    assert {split: len(found) for split, found in images.items()} == {"train": 24, "val": 8, "test": 8}
    for split, found in images.items():
        told = f"{len(found)} images of the {split} part of --data.root (the run may have been trained on any of them)"
        assert found.description == told
        names = origin.checkpoint.class_names
        assert [Path(name).parent.name for name in found.names] == [names[label] for label in found.labels]
    assert images["test"].all().shape == (8, 3, 32, 32)


def test_images_that_cannot_be_decoded_are_named_with_what_export_can_do(run: Path, tmp_path: Path) -> None:
    """It has no data.on_bad_image."""
    origin = find_origin(str(run / "checkpoints" / "best.ckpt"), "runs")
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(
        InputError,
        match=r"^images: '.*broken.png' cannot be decoded as an image: .*\. Replace it, or leave it out of --i",
    ) as given:
        compared_images(origin, (32, 32), [str(tmp_path)]).all()
    moved = shutil.copytree(run.parent / "images", tmp_path / "moved")
    for path in moved.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(
        InputError,
        match=r"^images: '.*moved.*' cannot be decoded as an image: .*\. Replace it, or, without --int8, give --images",
    ) as of_run:
        compared_images(origin, (32, 32), root=str(moved)).all()
    with pytest.raises(InputError, match=r"^images: .*\. Replace it\.$"):
        run_images(origin, (32, 32), str(moved))["train"].all()
    assert "on_bad_image" not in f"{given.value}{of_run.value}"


def test_a_folder_of_images_that_cannot_be_listed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:  # root may read every folder
        raise PermissionError(13, "Permission denied", str(path))

    origin = find_origin(str(run / "checkpoints" / "best.ckpt"), "runs")
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(InputError, match=f"^images: the folder '{tmp_path}' cannot be read: Permission denied"):
        compared_images(origin, (32, 32), [str(tmp_path)])


LONG = "x" * 300


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": LONG}, "ckpt_path: x+ cannot be read: File name too long. Received: x+; give the path"),
        ({"checkpoint": "best", "root": LONG}, "ckpt_path: x+.* cannot be read: File name too long. Received: best"),
        ({"images": [LONG]}, "images: 'x+' cannot be read: File name too long. Give an image or a folder"),
        ({"data_root": LONG}, "images: .*data.root 'x+' cannot be read: File name too long"),
        ({"output": Path(f"{LONG}.safetensors")}, "output: 'x+.safetensors.*' cannot be written: File name too long"),
        ({"output": Path("/proc/nowhere/m.safetensors")}, "output: '/proc/nowhere/m.safetensors' cannot be written: "),
    ],
)
def test_what_the_system_refuses_is_said_of_the_argument_that_it_is(
    run: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    given = {"checkpoint": str(run / "checkpoints" / "best.ckpt"), "output": tmp_path / "model.safetensors", **changes}
    with pytest.raises(InputError, match=f"^{message}"):
        export(Request(kind="safetensors", **given))
    assert not list(tmp_path.iterdir())


def test_links_are_written_through(run: Path, tmp_path: Path) -> None:
    """The card's too; one whose file ends otherwise is refused, for runtimes go by that."""
    link, words = tmp_path / "model.safetensors", ("best", "safetensors")
    link.symlink_to("store/real.bin")
    with pytest.raises(
        InputError, match="output: a file of format safetensors ends in .safetensors. Received: .*real.bin"
    ):
        Request(*words, link).check()
    link.unlink()
    link.symlink_to("store/real.safetensors")
    link.with_name("model.safetensors.md").symlink_to("card.md")
    export(Request(str(run / "checkpoints" / "best.ckpt"), "safetensors", link))
    assert link.is_symlink()
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"real.safetensors"}
    assert (tmp_path / "card.md").read_text(encoding="utf-8").startswith("# model")


def test_the_images_are_those_of_the_run(run: Path) -> None:
    images = run_images(find_origin(str(run / "checkpoints" / "best.ckpt"), "runs"), (32, 32))
    assert {split: len(found) for split, found in images.items()} == {"train": 32, "val": 8}
    some = images["train"].spread(4)
    assert sorted(some.labels) == [0, 1, 2, 3]
    assert some.description == "4 of 32 images of the run's train split"
    pixels, labels = next(images["val"].batches(3))
    assert (pixels.shape, pixels.dtype, len(labels)) == ((3, 3, 32, 32), torch.uint8, 3)


@pytest.mark.parametrize("data", [{"resize": "crop"}, {"resize": "pad", "antialias": True}], ids=str)
def test_images_that_are_given_are_resized_as_those_of_the_run(run: Path, data: dict[str, Any]) -> None:
    info = replace(find_origin(str(run / "checkpoints" / "best.ckpt"), "runs").checkpoint, data=data)
    found = given_images([str(run.parent / "images")], info, (32, 32))
    expected = [resize_image(decode_image(Path(name)), (32, 32), *data.values()) for name in found.names]
    assert torch.equal(found.all(), torch.stack(expected))


def test_accuracy_is_measured_on_the_test_split_where_there_is_one() -> None:
    train, val, test = (Images(("1.png",), (0,), torch.load, split) for split in ("train", "val", "test"))
    assert held_out({"train": train, "val": val, "test": test}) is test
    assert held_out({"train": train, "val": val}) is val
