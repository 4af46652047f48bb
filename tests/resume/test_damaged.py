"""A damaged last.ckpt is answered with the checkpoint before it."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import Run, Starter, at, check_same_run


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """One bit of a weight, which torch itself would read without a word."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


@pytest.fixture(scope="module")
def broken_off(starter: Starter) -> Path:
    """A run killed in the second phase: last.ckpt is of the middle of an epoch, previous.ckpt of its start."""
    run = Run(starter, "broken off")
    run.process(*at("on_train_batch_start", 3, 2), code=-signal.SIGKILL)
    return run.folder


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncate, empty, flip])
def test_the_one_before_it_continues_the_run(
    starter: Starter, whole: Path, broken_off: Path, damage: Callable[[Path], None]
) -> None:
    run = Run(starter, damage.__name__)
    checkpoints = Path(shutil.copytree(broken_off, starter.folder / run.root)) / "checkpoints"
    damage(checkpoints / "last.ckpt")
    output = run.process()
    assert "not a checkpoint of lightning-tl, or a damaged one" in output
    assert f"Continuing from the checkpoint before it, {run.root}/checkpoints/previous.ckpt" in output
    check_same_run(run.folder, whole)


def test_a_damaged_last_never_takes_the_place_of_the_good_one_before_it(
    starter: Starter, whole: Path, broken_off: Path
) -> None:
    """In a copy, so the run folder has moved too, and killed once more before it could save."""
    run = Run(starter, "damaged")
    checkpoints = Path(shutil.copytree(broken_off, starter.folder / run.root)) / "checkpoints"
    flip(checkpoints / "last.ckpt")
    good = (checkpoints / "previous.ckpt").read_bytes()
    output = run.process(moment={"event": "os.rename", "name": "last.ckpt"}, code=-signal.SIGKILL)
    assert "Continuing from the checkpoint before it" in output
    assert (checkpoints / "previous.ckpt").read_bytes() == good
    run.process()
    check_same_run(run.folder, whole)


def test_both_damaged_is_one_clear_error(starter: Starter, broken_off: Path) -> None:
    run = Run(starter, "both")
    checkpoints = Path(shutil.copytree(broken_off, starter.folder / run.root)) / "checkpoints"
    truncate(checkpoints / "last.ckpt")
    flip(checkpoints / "previous.ckpt")
    output = run.process(code=2)
    assert output.count("lightning-tl: error: ") == 1
    assert "Traceback" not in output
    assert "both/checkpoints/last.ckpt" in output
    assert "The checkpoint before it, both/checkpoints/previous.ckpt, cannot be read either" in output
    assert "Give the best instead: both/checkpoints/best.ckpt." in output
