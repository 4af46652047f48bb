"""``lightning-tl predict`` with PATHs in this process, and a checkpoint for it that nothing was trained for."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import pytest
import torch
from PIL import Image
from training import SMALL

from lightning_tl import ImageFolderDataModule, TransferClassifier
from lightning_tl.command import main
from lightning_tl.predict.inputs import PathStream
from lightning_tl.predict.request import Request
from lightning_tl.predict.run import predict_paths

CLASSES = ("blue", "green", "red")
OPTIONS = ("--trainer.accelerator", "cpu", "--data.num_workers", "0", "--data.batch_size", "4")


def write_checkpoint(path: Path, classes: Sequence[str] = CLASSES, seed: int = 1) -> Path:
    """Of random weights, as ``fit`` on images of 32 pixels would leave it; images of ``draw`` get various classes."""
    generator = torch.Generator().manual_seed(seed)
    model = TransferClassifier(classes, backbone=SMALL, weights="none", image_size=32).eval()
    torch.nn.init.normal_(model.head.weight, generator=generator)
    light = torch.rand(64, 3, 1, 1, generator=generator)
    with torch.no_grad():
        logits = model(torch.rand(64, 3, 32, 32, generator=generator) * 255 * light)
        model.head.weight.div_(logits.std(dim=0)[:, None])
        model.head.bias.sub_((logits / logits.std(dim=0)).mean(dim=0))
    content = {
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "datamodule_hyper_parameters": dict(ImageFolderDataModule("images", image_size=32).hparams),
        "global_step": 0,
    }
    torch.save(content, path)
    return path


def draw(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Images of noise in different light, ``00.png`` and so on; their paths."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = generator.integers(0, 256, (32, 32, 3)) * generator.uniform(0, 1, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
    return sorted(str(path) for path in folder.iterdir())


@dataclass
class Done:
    out: str
    err: str


class Stdin:
    """Standard input that holds these bytes."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def close(self) -> None:
        """As a loader's workers do."""


class Output(io.TextIOWrapper):
    """Standard output with bytes below, as the real one has."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="surrogateescape", write_through=True)

    @property
    def text(self) -> str:
        raw: bytes = self.buffer.getvalue()  # type: ignore[attr-defined]
        return raw.decode("utf-8", "surrogateescape")


def predict_here(
    *paths: str,
    cwd: Path,
    stdin: bytes = b"",
    data: Mapping[str, Any] | None = None,
    null: bool = False,
    **request: Any,
) -> str:
    """What the command does once its words are parsed and the model is loaded, which takes a second."""
    options = {"root": ".", "image_size": 32, "batch_size": 4, "num_workers": 0, **(data or {})}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "stdin", Stdin(stdin))
        return predict_paths(
            lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False),
            load(cwd / "best.ckpt"),
            ImageFolderDataModule(**options).options,
            cwd / "best.ckpt",
            PathStream(paths, null),
            Request(**request),
        )


@cache
def load(checkpoint: Path) -> TransferClassifier:
    model = TransferClassifier.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
    return cast(TransferClassifier, model.eval())


def predict(*words: str | Path, cwd: Path, code: int = 0, stdin: bytes = b"") -> Done:
    """The command with these words behind ``predict``; it must end with ``code``."""
    out, err = Output(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "stdin", Stdin(stdin))
        patch.setattr(sys, "argv", ["lightning-tl", "predict", *map(str, words)])
        status = main()
    assert status == code, out.text + err.getvalue()
    return Done(out.text, err.getvalue())


def go(workplace: Path, *words: str | Path, code: int = 0, stdin: bytes = b"") -> Done:
    """``predict`` with the workplace's checkpoint, in batches of 4."""
    return predict("--ckpt_path", "best.ckpt", *OPTIONS, *words, cwd=workplace, code=code, stdin=stdin)


def rows(path: Path) -> list[list[str]]:
    """Of a CSV file, its header first."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file, strict=True))
