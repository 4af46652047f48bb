"""Run folders: chosen, found, and refused before training."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from calling import fails, short_fit
from calling import run as run_command
from training import draw_images

import keras_ref.runfolder
import lightning_tl.runfolder
from lightning_tl.errors import InputError
from lightning_tl.runfolder import check_space, choose_run_folder, find_checkpoint, run_folder_of

SIDES = pytest.mark.parametrize("side", [lightning_tl.runfolder, keras_ref.runfolder], ids=lambda side: side.__name__)


@SIDES
def test_a_new_or_empty_folder_is_the_run_folder_itself_else_numbered_ones(tmp_path: Path, side: ModuleType) -> None:
    choose_run_folder = side.choose_run_folder
    assert choose_run_folder(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "empty").mkdir()
    assert choose_run_folder(tmp_path / "empty") == tmp_path / "empty"
    (tmp_path / "empty" / "file").touch()
    first = choose_run_folder(tmp_path / "empty")
    assert first == tmp_path / "empty" / "run_1"
    assert choose_run_folder(tmp_path / "empty") == tmp_path / "empty" / "run_2"
    side.release_claims()
    assert not list(first.iterdir())


@SIDES
def test_an_empty_folder_of_a_run_that_has_just_begun_is_not_taken(tmp_path: Path, side: ModuleType) -> None:
    """It decodes its images first; by a process that began at the same moment, too."""
    code = f"import sys; from {side.__name__} import choose_run_folder; print(choose_run_folder(sys.argv[1]))"
    run = [sys.executable, "-c", code, str(tmp_path / "run")]
    others = [subprocess.Popen(run, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ours = side.choose_run_folder(tmp_path / "run")
    chosen = [str(ours), *(other.communicate(timeout=120)[0].strip() for other in others)]
    assert sorted(chosen) == sorted(map(str, (tmp_path / "run", *(tmp_path / "run" / f"run_{n}" for n in (1, 2, 3)))))
    side.release_claims()


@SIDES
def test_a_start_that_fails_leaves_the_folder_to_the_next(tmp_path: Path, side: ModuleType) -> None:
    for _ in range(2):
        assert side.choose_run_folder(tmp_path / "run") == tmp_path / "run"
        side.release_claims()
    (tmp_path / "run" / "run_1").write_text("no folder")
    assert side.choose_run_folder(tmp_path / "run") == tmp_path / "run" / "run_2"
    side.release_claims()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "run", Path("/proc/runs")):
        with pytest.raises(InputError, match=r"trainer.default_root_dir: the run folder .* cannot be written"):
            choose_run_folder(path)


@SIDES
def test_a_link_to_nowhere_is_refused(side: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itertools.count", lambda start: range(start, start + 3))  # not for ever
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(
        ValueError, match=r"trainer.default_root_dir: the run folder .*link cannot be written: .*exists"
    ):
        side.choose_run_folder(tmp_path / "link")


@SIDES
def test_a_folder_in_which_a_run_began_and_ended_meanwhile_is_that_runs(
    side: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def after_another(path: Path, *args: Any, **options: Any) -> Any:
        if path.parent == tmp_path / "runs":
            (path.parent / "config.yaml").touch()
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", after_another)
    assert side.choose_run_folder(tmp_path / "runs") == tmp_path / "runs" / "run_1"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["config.yaml", "run_1"]
    side.release_claims()


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(1000, 1000)
    check_space(tmp_path, model)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(InputError, match="has 1 MiB free; a run needs about 110 MiB"):
        check_space(tmp_path, model)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 0, 90 * 2**20))
    with pytest.raises(InputError, match="has 90 MiB free"):
        check_space(tmp_path, model)
    (tmp_path / "checkpoints").mkdir()
    for name in ("best.ckpt", "last.ckpt", "previous.ckpt"):  # which this run has already, and replaces
        (tmp_path / "checkpoints" / name).write_bytes(bytes(10 * 2**20))
    check_space(tmp_path, model)


def test_checkpoints_are_found_by_path_or_as_best_and_last_of_the_newest_run(tmp_path: Path) -> None:
    for time, run in enumerate(("", "run_1", "run_2")):
        for name in ("best.ckpt", "last.ckpt"):
            path = tmp_path / run / "checkpoints" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (1000 + time, 1000 + time))
    newest = tmp_path / "run_2" / "checkpoints" / "last.ckpt"
    assert find_checkpoint("last", tmp_path) == newest
    assert find_checkpoint(str(newest), "elsewhere") == newest
    assert run_folder_of(newest) == tmp_path / "run_2"
    assert run_folder_of(tmp_path / "model.ckpt") == tmp_path


def save(run: Path, **times: int) -> None:
    """Checkpoints of a run by their names, and when each was written."""
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    for name, time in times.items():
        path = run / "checkpoints" / f"{name}.ckpt"
        path.touch()
        os.utime(path, (time, time))


def test_the_newest_run_is_that_which_saved_last_whenever_its_best_was(tmp_path: Path) -> None:
    save(tmp_path, best=1002, last=1002)
    save(tmp_path / "run_1", best=1001, last=1003)
    assert find_checkpoint("best", tmp_path) == tmp_path / "run_1" / "checkpoints" / "best.ckpt"
    save(tmp_path / "run_2", last=1004)
    with pytest.raises(InputError, match=r"no checkpoints/best.ckpt in .*run_2, the newest run. Received: best"):
        find_checkpoint("best", tmp_path)
    assert find_checkpoint("last", tmp_path) == tmp_path / "run_2" / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("newest", ["", "run_9", "run_10"])
def test_the_newest_run_is_the_one_that_saved_last_whatever_its_name(tmp_path: Path, newest: str) -> None:
    for time, run in enumerate(("", "run_9", "run_10"), start=1000):
        save(tmp_path / run, best=time, last=time)
    save(tmp_path / newest, best=2000, last=2000)
    assert find_checkpoint("best", tmp_path) == tmp_path / newest / "checkpoints" / "best.ckpt"


def test_missing_checkpoints_are_errors_not_new_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ckpt_path: no checkpoints/last.ckpt in .* Received: last"):
        find_checkpoint("last", tmp_path)
    with pytest.raises(InputError, match=r"ckpt_path: no such file. Received: nowhere.ckpt"):
        find_checkpoint("nowhere.ckpt", tmp_path)
    with pytest.raises(InputError, match="ckpt_path: a trained model is needed"):
        find_checkpoint(None, tmp_path)


def test_a_name_that_is_too_long_is_an_error_of_the_checkpoint(tmp_path: Path) -> None:
    name = "x" * 300
    with pytest.raises(InputError, match=r"ckpt_path: x+ cannot be read: File name too long\. Received: x+; give the"):
        find_checkpoint(name, tmp_path)
    with pytest.raises(InputError, match=rf"ckpt_path: {tmp_path}/x+.* cannot be read: .*\. Received: last; give"):
        find_checkpoint("last", tmp_path / name)


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's callbacks and loggers would replace it, and the rest of a run would lie elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    draw_images(tmp_path / "home/images")
    (tmp_path / "work").mkdir()
    short_fit(tmp_path / "work", "--trainer.default_root_dir=~/runs", root="~/images")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["config.yaml"]
    found = {path.name for path in (tmp_path / "home/runs").iterdir()}
    assert {"config.yaml", "split.csv", "metrics.csv", "checkpoints", "results.json"} <= found
    words = ("--ckpt_path", "~/runs/checkpoints/best.ckpt", "--data.root=~/images")
    assert "of split val" in run_command("test", *words, cwd=tmp_path / "work").out


@pytest.mark.parametrize("name", ["out/a::b", "s3://bucket/runs"])
def test_addresses_are_no_folders(tmp_path: Path, name: str) -> None:
    message = fails("fit", "--data.root", "x", "--trainer.default_root_dir", name, cwd=tmp_path)
    assert "trainer.default_root_dir: a folder is needed, and names with :// or :: are taken for addresses. " in message
    assert not list(tmp_path.iterdir())
