"""docs/guide.ipynb runs as it stands, and so do its Keras lines."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guide.ipynb"


def cells(kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(GUIDE.read_text())["cells"] if cell["cell_type"] == kind]


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_the_guide_runs_and_learns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(GUIDE, as_version=4)
    resources = {"metadata": {"path": str(ROOT / "docs")}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    output = printed(notebook)
    reached = {name: float(value) for name, value in re.findall(r"(\w+): validation accuracy (\d\.\d+)", output)}
    assert reached["finetune"] > 0.9
    assert reached["finetune"] > reached["head"] > 0.5
    (accuracy,) = re.findall(r"accuracy of the best checkpoint: (\d\.\d+)", output)
    assert float(accuracy) > 0.9
    assert len(re.findall(r"taken for a \d", output)) > 0


def test_the_committed_outputs_are_of_the_committed_code() -> None:
    """Every cell was run, in order, without an error, and printed what a run prints."""
    notebook = nbformat.read(GUIDE, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert "accuracy of the best checkpoint" in printed(notebook)
    assert GUIDE.stat().st_size < 400_000


def test_the_keras_lines_run(tmp_path: Path) -> None:
    """On random weights and images, an epoch a round."""
    blocks = [block for text in cells("markdown") for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    code = "\n".join(
        [
            "import numpy as np",
            "images, labels = np.random.rand(20, 96, 96, 3).astype('float32') * 255, np.arange(20) % 10",
            *blocks,
            "assert confusion.sum() == 20 and confusion.shape == (10, 10)",
            "assert sum(layer.trainable and bool(layer.weights) for layer in base.layers) == 7",
        ]
    )
    for old, new in (
        ('weights="imagenet"', "weights=None"),
        ("fit(train, validation_data=val, epochs=3)", "fit(images, labels, epochs=1, verbose=0)"),
        ("model.predict(val)", "model.predict(images, verbose=0)"),
    ):
        assert old in code
        code = code.replace(old, new)
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
