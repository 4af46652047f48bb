"""The card says what it must, and names of strangers are text in it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from export.conftest import CLASSES, Export, results_of
from markdown_it import MarkdownIt

from lightning_tl.checkpoint import find_info
from lightning_tl.errors import printable
from lightning_tl.export.card import _resizing
from lightning_tl.export.card_parts import data_part, int8_part, metrics_part, without_folders
from lightning_tl.export.deployed import load_plain
from lightning_tl.export.description import describe
from lightning_tl.export.markdown import escaped, table
from lightning_tl.export.origin import Origin, find_origin
from lightning_tl.export.record import Int8
from lightning_tl.weights import sha256

HOSTILE = [
    *CLASSES,
    "</td></tr>",
    "[x]: http://evil",
    "a|b\\|c",
    "`` ` ``",
    "&lt;&#60;",
    "~~s~~",
    "\x1b[31m",
    "__init__",
    " a  b ",
]
HARMLESS = {"text", "softbreak", "code_inline", "text_special"}


def shown(markdown: str) -> tuple[list[str], set[str]]:
    """The text of each inline stretch of a page, and the kinds of what is in them."""
    page = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(markdown)
    inline = [token for token in page if token.type == "inline"]
    kinds = {child.type for token in inline for child in token.children or []} | {
        t.type for t in page if "html" in t.type
    }
    return ["".join(child.content for child in token.children or []) for token in inline], kinds


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_nothing_else(name: str) -> None:
    texts, kinds = shown("\n".join(table(["class"], [[escaped(name)]])))
    visible = printable(name).replace("\n", "\\n")
    assert texts == ["class", visible] or texts == ["class", visible.strip()]
    assert kinds <= {"text", "text_special"}


def test_the_card_says_what_it_must(run: Path, exported: Export) -> None:
    path = exported("safetensors")
    card = path.with_name("model.safetensors.md").read_text(encoding="utf-8")
    texts, kinds = shown(card)
    assert kinds <= HARMLESS
    for name in CLASSES:
        assert printable(name).replace("\n", "\\n").strip() in [text.strip() for text in texts]
    whole = "\n".join(texts)
    results = results_of(run)
    assert f"accuracy {results['test']['accuracy']:.4f}" in whole  # type: ignore[index]
    assert sha256(path) in whole
    assert sha256(run / "checkpoints" / "best.ckpt") in whole
    assert re.search(r"\| train \| 32 \| 4 \|\n\| val \| 8 \| 4 \|", card)
    assert re.search(r"\| safetensors [\d.]+, timm [\d.]+, torch [\d.]+ \| logits \| 8 \| \S+ \| 2e-05 \|", card)
    assert "nobody has checked them here" in whole
    assert "Images: images" in whole
    assert str(run.parent) not in card
    assert "Of the checkpoint that was best when the run ended, which is not the file exported here" in whole


def test_of_paths_the_card_tells_the_names_alone(run: Path, tmp_path: Path) -> None:
    """The split may be a file of the user's, and the weights one."""
    info = find_info(str(run / "checkpoints" / "best.ckpt"), run)
    settings = {**info.data, "root": "/home/ann/secret/flowers/", "split": "/home/ann/secret/split.csv"}
    windows = {"root": "C:\\Users\\ann\\secret\\flowers", "split": "C:\\Users\\ann\\secret\\split.csv"}
    for changes in ({}, windows, {"dataset": "torchvision.datasets.Flowers102"}, {"root": ".."}):
        data = {**settings, **changes}
        origin = SimpleNamespace(checkpoint=replace(info, data=data), split_counts={})
        part = "\n".join(data_part(SimpleNamespace(origin=origin)))  # type: ignore[arg-type]
        named = "unknown" if data["root"] == ".." else "flowers"
        assert f"Images: {escaped(data.get('dataset') or named)}\n" in part
        assert f"split {escaped('split.csv')}" in part
        assert "secret" not in part


def test_of_loaders_of_ones_own_nothing_is_known(run: Path) -> None:
    info = replace(find_info(str(run / "checkpoints" / "best.ckpt"), run), data={"image_size": 32})
    origin = SimpleNamespace(checkpoint=info, split_counts={})
    part = "\n".join(data_part(SimpleNamespace(origin=origin)))  # type: ignore[arg-type]
    assert "Images: unknown\n\nDivided by: unknown.\n" in part


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("file /home/ann/my weights/w.h5", "file w.h5"),
        ("file w.h5", "file w.h5"),
        ("local cache /home/ann/.cache/mobilenet.pth", "local cache mobilenet.pth"),
        ("local cache of the hub, timm/x.in1k", "local cache of the hub, timm/x.in1k"),
        ("download https://example.com/w.pth", "download https://example.com/w.pth"),
    ],
)
def test_where_weights_came_from_is_told_without_folders(source: str, told: str) -> None:
    assert without_folders(source) == told


def test_whose_the_results_are_is_told_by_the_hash(run: Path, tmp_path: Path) -> None:
    """A run that was resumed and ended by a signal has a newer best checkpoint beside its older results."""
    copy = shutil.copytree(run, tmp_path / "run")
    best, results = copy / "checkpoints" / "best.ckpt", copy / "results.json"
    values = json.loads(results.read_text())
    assert values["checkpoint_sha256"] != sha256(best), "conftest has changed the weights since"
    assert not find_origin(str(best), copy).is_tested
    results.write_text(json.dumps({**values, "checkpoint_sha256": sha256(best)}))
    assert find_origin(str(best), copy).is_tested
    assert not find_origin(str(copy / "checkpoints" / "last.ckpt"), copy).is_tested
    del values["checkpoint_sha256"]  # as runs had it before
    results.write_text(json.dumps(values))
    assert find_origin(str(best), copy).is_tested
    assert not find_origin(str(copy / "checkpoints" / "last.ckpt"), copy).is_tested


def test_results_of_other_classes_are_none_of_this_run(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    best, results = copy / "checkpoints" / "best.ckpt", copy / "results.json"
    assert find_origin(str(best), copy).results is not None
    values = json.loads(results.read_text())
    results.write_text(json.dumps({**values, "classes": values["classes"][::-1]}))
    assert find_origin(str(best), copy).results is None


def test_metrics_stand_under_their_own_heads() -> None:
    phases = [
        {"name": "head", "epochs": 3, "val_accuracy": 0.75, "val_loss": 0.5, "val_f1": 0.7},
        {"name": "finetune", "epochs": 2, "val_accuracy": 0.875, "val_loss": 0.25},
    ]
    test = {"accuracy": 0.8125, "f1": 0.625, "loss": 0.375, "split": "test"}
    job = SimpleNamespace(origin=SimpleNamespace(results={"phases": phases, "test": test}, is_tested=True))
    part = metrics_part(job)  # type: ignore[arg-type]
    assert "| phase | epochs | accuracy | loss |" in part
    assert "| head | 3 | 0.7500 | 0.5000 |" in part
    assert "| finetune | 2 | 0.8750 | 0.2500 |" in part
    assert part[-1] == "Of this checkpoint, on the test split: accuracy 0.8125, F1 0.6250, loss 0.3750."


def test_what_eight_bits_cost_stands_under_its_own_head() -> None:
    calibration, held_out = "256 of 900 images of the run's train split", "90 images of the run's test split"
    part = int8_part(Int8(calibration, held_out, 0.9, 0.88, 0.95, 8, 2))
    assert "|  | float32 | int8 |" in part
    assert "| accuracy | 0.9000 | 0.8800 |" in part
    assert "| bytes | 8 | 2 |" in part
    assert f"Measured on {held_out}; both give the same class for 95.00% of them." in part[-1]
    assert f"activations are from {calibration}." in part[-1]


@pytest.mark.parametrize(
    ("resize", "antialias", "told"),
    [
        ("stretch", False, "without smoothing, regardless of their aspect ratio"),
        ("crop", True, "smoothed before making them smaller, after the largest centred part of its aspect ratio"),
        ("pad", False, "without smoothing, keeping their aspect ratio, the rest black"),
        ("unknown", False, "is not known here"),
    ],
)
def test_the_card_tells_how_images_were_resized(resize: str, antialias: bool, told: str) -> None:
    assert told in _resizing({"resize": resize, "antialias": antialias})


def test_the_file_tells_how_the_run_has_resized_its_images(run: Path) -> None:
    info = find_info(str(run / "checkpoints" / "best.ckpt"), run)
    for data, told in (({}, ("unknown", False)), ({"resize": "crop", "antialias": True}, ("crop", True))):
        origin = Origin(replace(info, data={"image_size": 32, **data}), "0" * 64, run)
        description = describe(origin, load_plain(info))
        assert (description["resize"], description["antialias"]) == told
