"""What the command says, and what it knows before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from lightning_tl.command import main
from lightning_tl.export.card_parts import int8_part
from lightning_tl.export.record import Exported, Int8
from lightning_tl.export.request import Request


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "usage: lightning-tl export [-h] --format"),
        (["best", "--format", "tflite", "--output", "m.onnx"], 2, "invalid choice: 'tflite'"),
        (["", "--format", "pt2", "--output", "m.pt2"], 2, "CKPT: a path is needed; an unset shell variable gives"),
        (["best", "--format", "pt2", "--output", "m.pt2", "--images", ""], 2, "images: a path is needed; an unset"),
        (["best", "--format", "pt2", "--output", "m.onnx"], 2, "a file of format pt2 ends in .pt2"),
    ],
)
def test_bad_words_are_told_without_torch(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom lightning_tl.command import main\ntry:\n    status = main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    status = ended.code\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\nsys.exit(status)"
    )
    command = [sys.executable, "-c", script, "export", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize("after", [0.85, 0.84])
def test_a_fall_in_accuracy_is_told_loudly(
    after: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    int8 = Int8("256 of 900 images of the run's train split", "images of the run's test split", 0.9, after, 0.9, 8, 2)
    monkeypatch.setattr("lightning_tl.export.export.export", lambda request: Exported("m.onnx", "0", 2, [], int8))
    assert main(["export", "best", "--format", "onnx", "--int8", "--output", str(tmp_path / "m.onnx")]) == 0
    told, fell = capsys.readouterr(), after == 0.84
    expected = f"test split: 0.9000 before (float32, 8 bytes), {after:.4f} after (int8, 2 bytes)"
    assert expected in told.out
    assert ("WARNING: accuracy fell by 0.0600, more than 0.05" in told.err) == fell
    assert ("**Accuracy fell by 0.0600" in "\n".join(int8_part(int8))) == fell


def test_a_checkpoint_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "best", "--root", str(tmp_path), "--format", "pt2", "--output", str(tmp_path / "out" / "m.pt2")]
    assert main(words) == 2
    assert "no checkpoints/best.ckpt in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_a_request() -> None:
    names = [path.name for path in Request("best", "safetensors", Path("a/m.safetensors")).paths]
    assert names == ["m.safetensors", "m.safetensors.md", "m.safetensors.json"]
