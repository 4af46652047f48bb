"""Class and file names as bad as a file system allows, through fit, test and predict by the command line."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import COMMAND, finish, start
from PIL import Image
from training import AUGMENT, SMALL

from lightning_tl.command import main
from lightning_tl.data.folder import Sample
from lightning_tl.data.split_file import read_split

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such file names")

NOT_UTF8 = os.fsdecode(b"caf\xe9")
CLASSES = sorted(
    [
        "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'apostrophe", "=HYPERLINK(\"http:evil\";'x')",
        '"quoted", \'single\'', "<b onload=alert(1)>&amp;", "new\nline\r\ttab", "a..%2f..%2fetc", "\\..\\..\\x",
        "$HOME `id` {0} %s $x_1$ [red]", "\x1b[31mred", "x" * 255, NOT_UTF8, "ünï 日本", "a,b;c|d", "#", "null", "~",
        "1e3", "yes", "a: b", "- x", " spaces ",
    ]
)  # fmt: skip
FILES = ["=1+1.png", "new\nline.png", "y" * 251 + ".png", os.fsdecode(b"\xff\xfe.png"), '"q", <i>\'.png', "a..%2f.png"]
ROOT = os.fsdecode(b"im\xe9ges\n=1, \"<b>'")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of such names in a folder of such a name, and the run of ``fit`` on them in ``run``."""
    folder = tmp_path_factory.mktemp("hostile")
    generator = np.random.default_rng(0)
    for name in CLASSES:
        (folder / ROOT / name).mkdir(parents=True)
        for file in FILES:
            Image.fromarray(generator.integers(0, 255, (32, 32, 3)).astype(np.uint8)).save(folder / ROOT / name / file)
    config = {
        "model": {"backbone": SMALL, "weights": "none", "augment": AUGMENT},
        "data": {"image_size": 32, "batch_size": 64, "num_workers": 0},
        "phases": [{"name": "head", "epochs": 1, "lr": 1e-3}, {"name": "all", "epochs": 1, "lr": 1e-4}],
        "trainer": {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    fit = (*COMMAND, "fit", "--config", "config.yaml", "--trainer.default_root_dir", "run", "--data.root", ROOT)
    finish(start(fit, folder))
    return folder


def rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows as any CSV reader sees them; the bytes of names as the file system has them."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        header, *rest = csv.reader(stream, strict=True)
    return header, rest


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["lightning-tl", *words])
    assert main() == code


def test_the_split_file_names_every_image(workplace: Path) -> None:
    samples = read_split(workplace / "run" / "split.csv", workplace / ROOT)
    assert {(sample.label, sample.path) for sample in samples} == {(c, f"{c}/{f}") for c in CLASSES for f in FILES}
    assert all(isinstance(sample, Sample) and sample.split in ("train", "val") for sample in samples)


def test_predictions_name_every_held_out_image_and_start_no_formula(workplace: Path) -> None:
    header, found = rows(workplace / "run" / "predictions.csv")
    assert header == ["split", "path", "label", "predicted", *(f"probability_{name}" for name in CLASSES)]
    held_out = [s for s in read_split(workplace / "run" / "split.csv", None) if s.split == "val"]
    assert [(row[1].removeprefix("'"), row[2].removeprefix("'")) for row in found] == [
        (sample.path, sample.label) for sample in held_out
    ]
    assert {row[3].removeprefix("'") for row in found} <= set(CLASSES)
    assert not [cell for row in (header, *found) for cell in row[:4] if cell.startswith(FORMULA)]
    assert all(len(row) == len(header) and float(row[4]) >= 0 for row in found)


def test_results_logs_and_config_hold_the_names_as_they_are(workplace: Path) -> None:
    folder = workplace / "run"
    assert json.loads((folder / "results.json").read_text(encoding="utf-8"))["classes"] == CLASSES
    assert yaml.safe_load((folder / "hparams.yaml").read_text(encoding="utf-8"))["class_names"] == CLASSES
    assert yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["data"]["root"] == ROOT
    header, found = rows(folder / "metrics.csv")
    assert {"epoch", "step", "val_loss", "val_accuracy", "val_f1"} <= set(header)
    assert all(len(row) == len(header) for row in found)


def test_the_confusion_matrix_is_drawn(workplace: Path) -> None:
    with Image.open(workplace / "run" / "confusion_matrix.png") as picture:
        picture.load()
        assert min(picture.size) > 500


def test_predict_names_every_image(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--data.root", ROOT, "--trainer.default_root_dir", "predicted", "--data.num_workers", "0")
    run(workplace, monkeypatch, "predict", "--ckpt_path", "run/checkpoints/best.ckpt", *options)
    _, found = rows(workplace / "predicted" / "predictions.csv")
    named = {row[1].removeprefix("'") for row in found}
    assert named == {f"{ROOT}/{name}/{file}" for name in CLASSES for file in FILES}
    assert all((workplace / path).is_file() for path in named)


def test_the_checkpoint_and_the_split_evaluate_again(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(workplace, monkeypatch, "test", "--ckpt_path", "run/checkpoints/best.ckpt", "--data.num_workers", "0")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "test_accuracy" in line]
    results = json.loads((workplace / "run" / "results.json").read_text(encoding="utf-8"))
    assert float(line.replace("│", " ").split()[-1]) == pytest.approx(results["test"]["accuracy"])


def test_a_damaged_file_is_named_without_steering_the_terminal(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("\x1b[31mred", NOT_UTF8):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"\x1b[2J\n{number}.png").write_bytes(b"nothing")
    words = ("--config", "config.yaml", "--data.root", str(tmp_path), "--trainer.default_root_dir", "damaged")
    run(workplace, monkeypatch, "fit", *words, code=2)
    error = capsys.readouterr().err
    assert "4 of 4 images cannot be decoded" in error
    assert r"'\x1b[31mred/\x1b[2J\n0.png'" in error
    assert "\x1b" not in error
    assert error.encode("utf-8"), "it can be printed"


def test_nothing_was_written_elsewhere(workplace: Path) -> None:
    assert {path.name for path in workplace.iterdir()} <= {ROOT, "config.yaml", "run", "predicted", "damaged"}
    images = {path.relative_to(workplace / ROOT).as_posix() for path in (workplace / ROOT).rglob("*.png")}
    assert images == {f"{name}/{file}" for name in CLASSES for file in FILES}
