"""A small trained checkpoint whose classes have the worst names, and exports of it, made when a test first asks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from training import SMALL, draw_images

from lightning_tl.command import main

NOT_UTF8 = os.fsdecode(b"caf\xe9")
CLASSES = sorted(
    ["<img src=x onerror=alert(1)>|`", "new\nline ![x](mailto:a@b.c) www.evil.com", NOT_UTF8, "[a](b) *c* $x$ "]
)
"""In the order of the labels."""

Export = Callable[..., Path]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short fit on 4 classes of 10 images."""
    folder = tmp_path_factory.mktemp("export")
    config = {
        "model": {"backbone": SMALL, "weights": "none"},
        "data": {"root": str(draw_images(folder / "images", CLASSES)), "image_size": 32, "num_workers": 0},
        "phases": [{"name": "head", "epochs": 1, "lr": 1e-2}],
        "trainer": {
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": str(folder / "run"),
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    fit(folder / "config.yaml")
    make_lively(folder / "run" / "checkpoints" / "best.ckpt")
    return folder / "run"


def fit(config: Path, *words: str) -> None:
    """By the command; LightningCLI wants its words in ``sys.argv`` alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lightning-tl", "fit", "--config", str(config), *words])
        assert main() == 0


def make_lively(checkpoint: Path) -> None:
    """Statistics and weights such as long training leaves: of a new network all images look alike."""
    content = torch.load(checkpoint, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in content["state_dict"].items():
        if name.startswith("backbone.net.") and tensor.dim() == 1:
            low, high = (0.5, 1.5) if name.endswith(("weight", "var")) else (-0.3, 0.3)
            tensor.uniform_(low, high, generator=generator)
    torch.save(content, checkpoint)


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """``exported("onnx", "--int8")``: the file, by the command; made once a session."""
    made: dict[tuple[str, ...], Path] = {}

    def export(kind: str, *options: str) -> Path:
        if (kind, *options) not in made:
            path = tmp_path_factory.mktemp(kind) / f"model.{kind}"
            words = [
                "export",
                str(run / "checkpoints" / "best.ckpt"),
                "--format",
                kind,
                "--output",
                str(path),
                *options,
            ]
            assert main(words) == 0
            made[kind, *options] = path
        return made[kind, *options]

    return export


def run_code(code: str, folder: Path) -> None:
    """Run code that uses Keras in ``folder``, in a process where there is no lightning_tl."""
    code = f"import sys; sys.modules['lightning_tl'] = None\n{code}"
    environment = {**os.environ, "KERAS_HOME": str(folder / "home"), "KERAS_BACKEND": "torch"}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def results_of(run_folder: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads((run_folder / "results.json").read_text())
    return values
