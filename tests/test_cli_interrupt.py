"""Ctrl-C at a command of Lightning's, whose trainer makes an exit of it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
from calling import run
from lightning.pytorch.callbacks import Callback

STOP = ("--trainer.callbacks", '[{"class_path": "test_cli_interrupt.CtrlC"}]')


class CtrlC(Callback):
    """Interrupts a training in its second epoch, and an evaluation."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    def on_test_batch_end(self, *_: Any) -> None:
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _sigint_as_it_was() -> Iterator[None]:
    """Lightning switches it off, for its process is about to end."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def test_a_fit_says_what_continues_it(workplace: Path, tmp_path: Path) -> None:
    fit = ("fit", "--config", workplace / "config.yaml", "--data.root", workplace / "images", *STOP)
    error = run(*fit, cwd=tmp_path, code=130).err
    assert error.splitlines()[-1] == "lightning-tl: interrupted; runs/checkpoints/last.ckpt continues the run"
    error = run(*fit, "--trainer.enable_checkpointing", "false", cwd=tmp_path, code=130).err
    assert error.splitlines()[-1] == "lightning-tl: interrupted"


def test_a_test_is_interrupted_too(workplace: Path) -> None:
    done = run("test", "--ckpt_path", "best", "--trainer.default_root_dir", "run", *STOP, cwd=workplace, code=130)
    assert done.err.splitlines()[-1] == "lightning-tl: interrupted"
