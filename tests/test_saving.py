"""Checkpoints are written whole or not at all, and hold only what loads without running code."""

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from training import EpochRecorder, Fit, make_data, make_model, make_trainer

from lightning_tl import InputError
from lightning_tl.best_checkpoint import BestCheckpoint
from lightning_tl.checkpoint import read_info
from lightning_tl.logger import MetricsLogger
from lightning_tl.saving import LastCheckpoint, RunCheckpointIO, keep_previous

FULL_DISK = """
import resource, signal, sys, torch
from lightning_tl import InputError
from lightning_tl.saving import RunCheckpointIO
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))  # Python ignores the signal; the write fails
try:
    RunCheckpointIO().save_checkpoint({"weights": torch.zeros(2**20)}, sys.argv[1])
except InputError as error:
    print(error)
"""


def save(content: object, path: Path) -> None:
    RunCheckpointIO().save_checkpoint(content, path)  # type: ignore[arg-type]


def test_a_saved_checkpoint_loads_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    content = {"weights": torch.arange(5.0), "step": 3, "names": ["a", ("b",)], "dtype": torch.float32}
    save(content, path)
    loaded = RunCheckpointIO().load_checkpoint(path)
    assert torch.equal(loaded.pop("weights"), content["weights"])  # type: ignore[arg-type]
    assert loaded == {key: value for key, value in content.items() if key != "weights"}
    assert list(path.parent.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_what_a_gpu_has_saved_loads_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    with monkeypatch.context() as patch:
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:7")
        torch.save({"weights": torch.arange(5.0)}, path)
    with pytest.raises(RuntimeError, match=r"CUDA|cuda:7"):
        torch.load(path)
    weights = RunCheckpointIO().load_checkpoint(path)["weights"]
    assert weights.device.type == "cpu"
    assert weights.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("value", [Path("here"), RunCheckpointIO, object()], ids=["path", "class", "object"])
def test_what_would_not_load_is_refused_when_it_is_saved(tmp_path: Path, value: object) -> None:
    """Not when it is needed, a day later."""
    path = tmp_path / "last.ckpt"
    save({"step": 1}, path)
    with pytest.raises(pickle.UnpicklingError):
        save({"step": 2, "value": value}, path)
    assert RunCheckpointIO().load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save({"step": 1}, path)
    command = [sys.executable, "-c", FULL_DISK, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.startswith(f"the checkpoint {path} cannot be written: ")
    assert done.stdout.strip().endswith(f" {path} continues the run.")
    assert RunCheckpointIO().load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_code_in_a_checkpoint_is_not_run_whatever_the_caller_says(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (ran,)

    torch.save({"state_dict": Payload()}, tmp_path / "evil.ckpt")
    for weights_only in (None, False, True):
        with pytest.raises(pickle.UnpicklingError):
            RunCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=weights_only)
    assert not ran.exists()
    torch.load(tmp_path / "evil.ckpt", weights_only=False)
    assert ran.exists(), "the payload works where it is let"


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_previous_checkpoint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """On drives without hard links as well, and over what a killed process has left."""

    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    last = tmp_path / "last.ckpt"
    (tmp_path / ".previous.ckpt").write_text("half")
    for content in ("one", "two"):
        last.write_text(content)
        for _ in range(2):  # the second time after a process that was killed before it wrote the next
            keep_previous(last)
            assert (tmp_path / "previous.ckpt").read_text() == content
            assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", "previous.ckpt"}
        last.unlink()


def test_the_best_is_known_after_the_folder_has_moved(tmp_path: Path) -> None:
    old, new = BestCheckpoint(tmp_path / "old"), BestCheckpoint(tmp_path / "new")
    path, score = str(tmp_path / "old" / "best.ckpt"), torch.tensor(0.5)
    old.best_model_path = old.kth_best_model_path = path
    old.best_k_models, old.best_model_score, old.kth_value = {path: score}, score, score
    new.load_state_dict(old.state_dict())
    moved = str(tmp_path / "new" / "best.ckpt")
    assert (new.best_model_path, new.kth_best_model_path, new.best_k_models) == (moved, moved, {moved: score})
    assert new.best_model_score == new.kth_value == score
    nothing = BestCheckpoint(tmp_path / "new")
    nothing.load_state_dict(BestCheckpoint(tmp_path / "old").state_dict())
    assert (nothing.best_model_path, nothing.best_k_models) == ("", {})


def test_a_negative_interval_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="checkpoint_every_n_steps: a number of optimizer steps, or 0. Received: -1"):
        LastCheckpoint(tmp_path, -1)


class Stopping(Callback):
    """Has the trainer stop after so many steps, as its ``max_time`` does."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        trainer.should_stop |= trainer.global_step == self.steps


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_a_run_that_was_stopped_in_an_epoch_goes_on_in_it(fit: Fit, images: Path, tmp_path: Path, steps: int) -> None:
    module, _, recorder = fit()
    fit(callbacks=[Stopping(steps), LastCheckpoint(tmp_path)], enable_checkpointing=True)
    data, rest = make_data(images), EpochRecorder()
    resumed = make_model(data, seed=0)
    trainer = make_trainer(tmp_path, callbacks=[rest, LastCheckpoint(tmp_path)], enable_checkpointing=True)
    trainer.fit(resumed, data, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert rest.losses == recorder.losses[steps // 3 :]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), module.parameters(), strict=True))


def test_metrics_of_a_run_that_was_stopped_in_an_epoch_are_those_of_a_whole_one(
    fit: Fit, images: Path, tmp_path: Path
) -> None:
    """Lightning validates where it is told to stop, and logs the part of the epoch as if it were all."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(logger=MetricsLogger(whole))
    stopping = [Stopping(4), LastCheckpoint(tmp_path)]
    fit(callbacks=stopping, enable_checkpointing=True, logger=MetricsLogger(parts))
    info = read_info(tmp_path / "last.ckpt")
    assert (info.global_step, info.stopped_in_epoch) == (4, 1)
    data = make_data(images)
    logger = MetricsLogger(parts, info.global_step, info.stopped_in_epoch)
    trainer = make_trainer(tmp_path, callbacks=[LastCheckpoint(tmp_path)], enable_checkpointing=True, logger=logger)
    trainer.fit(make_model(data, seed=0), data, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert (parts / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert read_info(tmp_path / "last.ckpt").stopped_in_epoch is None


HOLDER = """
import sys
from pathlib import Path
from lightning_tl.locking import alone
with alone(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_is_training_keeps_others_out(fit: Fit, tmp_path: Path) -> None:
    """As a job that was put back into the queue may begin while the old one still saves."""
    lock = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLDER, lock]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another process is training in"):
            fit(callbacks=[LastCheckpoint(tmp_path)], enable_checkpointing=True)
        assert not (tmp_path / "last.ckpt").exists()
        other.communicate()
    fit(callbacks=[LastCheckpoint(tmp_path)], enable_checkpointing=True)
    assert sorted(path.name for path in tmp_path.glob("*")) == ["last.ckpt", "previous.ckpt"]
    assert not lock.exists()


def test_a_fast_dev_run_leaves_the_last_checkpoint_alone(images: Path, tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    last.write_text("a run's")
    data = make_data(images)
    callbacks = [LastCheckpoint(tmp_path, every_n_steps=1)]
    make_trainer(tmp_path, callbacks=callbacks, enable_checkpointing=True, fast_dev_run=2).fit(make_model(data), data)
    assert last.read_text() == "a run's"
    assert not list(tmp_path.glob("*previous*"))


def test_a_validation_that_a_stop_has_caused_makes_no_best(fit: Fit, tmp_path: Path) -> None:
    """The run that goes on does not have it; one that a stop only meets at an epoch's end, it has."""
    judged: list[int] = []

    class Judging(BestCheckpoint):
        def _save_topk_checkpoint(
            self, trainer: lightning.Trainer, monitor_candidates: dict[str, torch.Tensor]
        ) -> None:
            judged.append(trainer.global_step)
            super()._save_topk_checkpoint(trainer, monitor_candidates)

    for steps, expected in ((4, [3]), (6, [3, 6])):
        judged.clear()
        fit(callbacks=[Stopping(steps), Judging(tmp_path / str(steps))], enable_checkpointing=True)
        assert judged == expected


@pytest.mark.parametrize("batch", [0, 3])
def test_a_stop_between_gradients_that_are_added_up_waits_for_their_step(
    fit: Fit, images: Path, tmp_path: Path, batch: int
) -> None:
    """Of the first epoch, before there is any checkpoint, and of the second."""
    options: dict[str, Any] = {"accumulate_grad_batches": 2, "enable_checkpointing": True}
    module, _, recorder = fit(**options)
    stopping = Callback()
    stopping.on_train_batch_end = lambda trainer, *_: setattr(  # type: ignore[method-assign]
        trainer, "should_stop", trainer.should_stop or trainer.fit_loop.epoch_loop.total_batch_idx == batch
    )
    fit(callbacks=[stopping, LastCheckpoint(tmp_path)], **options)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == batch + 2
    data, rest = make_data(images), EpochRecorder()
    resumed = make_model(data, seed=0)
    trainer = make_trainer(tmp_path, callbacks=[rest, LastCheckpoint(tmp_path)], **options)
    trainer.fit(resumed, data, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert rest.losses == recorder.losses[batch // 3 :]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), module.parameters(), strict=True))


def test_a_run_that_has_had_its_time_says_so(fit: Fit, images: Path, tmp_path: Path) -> None:
    """Lightning counts the time of all starts together, and would end at once, as if all was done."""
    timed: dict[str, Any] = {"max_time": {"milliseconds": 1}, "enable_checkpointing": True}
    fit(callbacks=[LastCheckpoint(tmp_path)], **timed)
    data = make_data(images)
    again = make_trainer(tmp_path, callbacks=[LastCheckpoint(tmp_path)], **timed)
    with pytest.raises(InputError, match=r"trainer.max_time: it is that of a whole run, .* Give more"):
        again.fit(make_model(data), data, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
