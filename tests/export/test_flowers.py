"""End to end on real photographs with Keras' ImageNet weights: every format, every Keras backend, eight bits."""

import os
import re
from pathlib import Path

import pytest
from export.conftest import fit

from lightning_tl.command import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FORMATS = ("onnx", "pt2", "keras", "safetensors")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of one epoch of the head on the flowers."""
    folder = os.environ.get("LIGHTNING_TL_ASSETS")
    if not folder:
        pytest.skip("LIGHTNING_TL_ASSETS is not set: no real weights and photographs")
    run = tmp_path_factory.mktemp("flowers") / "run"
    words = {
        "data.root": f"{folder}/data/flowers",
        "data.test_fraction": "0.1",
        "model.weights": f"{folder}/weights/keras_mobilenet_v2_1.0_224_no_top.h5",
        "phases": "[{name: head, epochs: 1, lr: 1.0e-3}]",
        "trainer.default_root_dir": str(run),
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false",
    }
    fit(ROOT / "configs" / "flowers.yaml", *(f"--{name}={value}" for name, value in words.items()))
    return run / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_agrees_on_photographs(
    kind: str, flowers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(flowers), "--format", kind, "--output", str(tmp_path / f"flowers.{kind}")]) == 0
    told = capsys.readouterr().out
    assert "on 64 images" in told
    errors = [float(error) for error in re.findall(r"on 64 images (\S+), allowed", told)]
    assert len(errors) == (3 if kind == "keras" else 2)
    assert max(errors) < 2e-5


def test_eight_bits_keep_the_accuracy(flowers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "flowers.onnx"
    assert main(["export", str(flowers), "--format", "onnx", "--int8", "--output", str(output)]) == 0
    told = capsys.readouterr()
    assert "WARNING" not in told.err
    found = re.search(
        r"accuracy on .*: (\S+) before \(float32, (\d+) bytes\), (\S+) after \(int8, (\d+) bytes\)", told.out
    )
    assert found is not None
    before, float_bytes, after, int8_bytes = map(float, found.groups())
    assert before > 0.8
    assert before - after < 0.03
    assert int8_bytes < 0.35 * float_bytes
