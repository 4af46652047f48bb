"""Loaders in a run that goes on: in the middle of an epoch with the same batches, between two with any."""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from data_modules import Mean, flat, module, trainer
from lightning.pytorch.callbacks import Callback

from lightning_tl.errors import InputError

IMAGES = 16
"""Of training: four batches an epoch when the run begins."""

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class SaveAt(Callback):
    """Leaves a checkpoint of each moment of the first epoch."""

    def save(self, trainer: Any, name: str) -> None:
        if trainer.current_epoch == 0 and not trainer.sanity_checking:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / f"{name}.ckpt")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.save(trainer, f"batch {batch_idx}")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.save(trainer, "epoch")


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """With the checkpoints of a run in batches of 4."""
    trainer(tmp_path, max_epochs=2, callbacks=[SaveAt()]).fit(Mean(), module(root))
    return tmp_path


def resumed(folder: Path, root: Path, name: str, attached: bool = True, **options: Any) -> Mean:
    model, data = Mean(), module(root, **options)
    given = (data,) if attached else (data.train_dataloader(), data.val_dataloader())
    trainer(folder, max_epochs=2).fit(model, *given, ckpt_path=folder / f"{name}.ckpt", weights_only=True)
    return model


@pytest.mark.parametrize("batch_size", [2, 8])
def test_in_the_middle_of_an_epoch_other_batches_are_refused(folder: Path, root: Path, batch_size: int) -> None:
    message = rf"middle of an epoch in steps of 4 images.* Received: {batch_size}; resume with .* that make 4, or from"
    with pytest.raises(InputError, match=f"data.batch_size: the checkpoint is from the {message}"):
        resumed(folder, root, "batch 1", batch_size=batch_size)
    assert len(resumed(folder, root, "batch 1", batch_size=4, batch_size_is="global").seen["fit"]) == 2 + 4


@pytest.mark.parametrize("batch_size", [2, 4, 8])
@pytest.mark.parametrize("name", ["batch 3", "validation", "epoch"])
def test_behind_the_last_batch_of_an_epoch_the_next_is_whole(
    folder: Path, root: Path, name: str, batch_size: int
) -> None:
    seen = resumed(folder, root, name, batch_size=batch_size).seen
    assert len(seen["fit"]) == IMAGES // batch_size
    assert set(Counter(flat(seen["fit"])).values()) == {1}
    assert len(flat(seen["validate"])) >= 4, "the epoch ends with a validation"


def test_so_it_is_where_an_epoch_has_a_part_of_the_batches(root: Path, tmp_path: Path) -> None:
    """What the next epoch begins with is not what this one has left."""
    whole = Mean()
    some = {"max_epochs": 2, "limit_train_batches": 3}
    trainer(tmp_path, callbacks=[SaveAt()], **some).fit(whole, module(root))
    for name in ("batch 2", "epoch"):
        model = Mean()
        path = tmp_path / f"{name}.ckpt"
        trainer(tmp_path, **some).fit(model, module(root), ckpt_path=path, weights_only=True)
        assert model.seen["fit"] == whole.seen["fit"][3:], name


def test_a_checkpoint_that_does_not_know_its_batch_size_resumes(folder: Path, root: Path) -> None:
    """As earlier versions wrote them."""
    path = folder / "batch 1.ckpt"
    content = torch.load(path, weights_only=True)
    (state,) = content["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert state == {"batches": 2, "global_batch": 4}
    del state["global_batch"]
    torch.save(content, path)
    assert len(resumed(folder, root, "batch 1").seen["fit"]) == 2 + 4


def test_loaders_made_before_the_trainer_do_not_claim_to_resume(root: Path, tmp_path: Path) -> None:
    data = module(root)
    trainer(tmp_path, callbacks=[SaveAt()]).fit(Mean(), data.train_dataloader(), data.val_dataloader())
    with pytest.warns(UserWarning, match="your dataloader is not resumable"):
        resumed(tmp_path, root, "batch 1", attached=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not resumable")
        assert len(resumed(tmp_path, root, "epoch", attached=False).seen["fit"]) == 4
