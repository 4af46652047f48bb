"""Workers of the loaders: they outlive a scheduler's SIGTERM, and never their main process."""

import os
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
from conftest import ImageFolderFactory

from lightning_tl import ImageFolderDataModule

SCRIPT = """
import os, signal, sys, time
sys.path[:0] = sys.argv[2:]
from lightning_tl import ImageFolderDataModule
data = ImageFolderDataModule(sys.argv[1], image_size=16, batch_size=2, num_workers=1, cache="none")
loader = data.train_dataloader()
batches = iter(loader)
next(batches)
(worker,) = (process.pid for process in loader._iterator._workers)
if os.fork() == 0:  # a stranger, as a scheduler is
    os.kill(worker, signal.SIGTERM)
    os._exit(0)
os.wait()
time.sleep(0.5)
os.kill(worker, 0)
print(len(list(batches)), worker, flush=True)
"""
"""Ends with a loader and a worker that are still in use."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of this kind are POSIX's")
def test_workers_outlive_sigterm_and_end_with_their_process(image_folder: ImageFolderFactory, tmp_path: Path) -> None:
    root = image_folder({"ants": 8, "bees": 8})
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "script.py", root, *sys.path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    batches, worker = done.stdout.split()[-2:]
    assert int(batches) > 3
    with pytest.raises(ProcessLookupError):
        os.kill(int(worker), 0)


def test_workers_give_back_what_their_process_had_freed(
    image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    monkeypatch.setattr("lightning_tl.data.loader.give_back_freed_memory", lambda: given.append(True))
    monkeypatch.setattr("lightning_tl.data.loader.outlive_sigterm", lambda: None)
    data = ImageFolderDataModule(str(image_folder({"ants": 4, "bees": 4})), image_size=8, cache="none")
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert loader.worker_init_fn is not None
        loader.worker_init_fn(0)
    assert given == [True, True]


@pytest.mark.parametrize(("accelerator", "pinned"), [("cpu", False), (None, True)])
def test_batches_are_pinned_for_a_gpu_that_computes(
    accelerator: str | None, pinned: bool, image_folder: ImageFolderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the trainer takes the CPU, a GPU of the machine is left alone."""
    data = ImageFolderDataModule(image_folder({"a": 3, "b": 3}), image_size=32, num_workers=0)
    if accelerator is not None:
        data.trainer = lightning.Trainer(accelerator=accelerator, logger=False, enable_checkpointing=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert data.val_dataloader().pin_memory == pinned
