"""What a trainer gets from the data module: order, resumes, limits, checkpoints, ranks."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_modules import Mean, flat, module, trainer
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.tuner import Tuner

from lightning_tl.data import EpochSampler, ImageFolderDataModule
from lightning_tl.draws import epoch_order
from lightning_tl.errors import InputError

Factory = Callable[..., Path]
FAKE = "torchvision.datasets.FakeData"

# With num_workers=0 Lightning suggests more; tests of a few images are faster without.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def test_training_follows_the_draws_epoch_by_epoch(root: Path, tmp_path: Path) -> None:
    data, model = module(root, seed=3), Mean()
    trainer(tmp_path, max_epochs=3).fit(model, datamodule=data)
    indices = torch.tensor([index for index, sample in enumerate(data.samples) if sample.split == "train"])
    expected = [epoch_order(3, epoch, indices).tolist() for epoch in range(3)]
    assert flat(model.seen["fit"]) == flat(expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_goes_on_with_the_next_epoch(root: Path, tmp_path: Path, workers: int) -> None:
    """With workers, which kept images do not have, Lightning begins to fetch before it tells the sampler the epoch."""
    first = trainer(tmp_path, max_epochs=1)
    first.fit(Mean(), datamodule=module(root))
    first.save_checkpoint(tmp_path / "last.ckpt")
    data, model = module(root, num_workers=workers, cache="none"), Mean()
    again = trainer(tmp_path, max_epochs=2)
    again.fit(model, datamodule=data, ckpt_path=str(tmp_path / "last.ckpt"))
    assert again.train_dataloader.num_workers == workers  # type: ignore[union-attr]
    indices = torch.tensor([index for index, sample in enumerate(data.samples) if sample.split == "train"])
    assert flat(model.seen["fit"]) == epoch_order(0, 1, indices).tolist()


def test_loaders_made_before_the_trainer_follow_the_seed_too(root: Path) -> None:
    data = module(root, seed=5)
    seen = [batch["index"].tolist() for batch in data.train_dataloader()]
    indices = torch.tensor([index for index, sample in enumerate(data.samples) if sample.split == "train"])
    assert flat(seen) == epoch_order(5, 0, indices).tolist() != epoch_order(0, 0, indices).tolist()


def test_overfit_batches_repeats_the_same_batches(root: Path, tmp_path: Path) -> None:
    model = Mean()
    trainer(tmp_path, max_epochs=2, overfit_batches=2).fit(model, datamodule=module(root))
    assert model.seen["fit"] == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2


def test_fast_dev_run_and_limits(root: Path, tmp_path: Path) -> None:
    quick, limited = Mean(), Mean()
    trainer(tmp_path, fast_dev_run=True).fit(quick, datamodule=module(root))
    assert [len(quick.seen[stage]) for stage in ("fit", "validate")] == [1, 1]
    options = {"limit_train_batches": 0.5, "limit_val_batches": 0, "limit_test_batches": 1}
    runner = trainer(tmp_path, **options)
    runner.fit(limited, datamodule=module(root))
    runner.test(limited, datamodule=module(root, batch_size=2))
    assert [len(limited.seen[stage]) for stage in ("fit", "validate", "test")] == [2, 0, 1]


def test_checkpoints_hold_plain_values(root: Path, tmp_path: Path) -> None:
    runner = trainer(tmp_path)
    runner.fit(Mean(), datamodule=module(root, image_size=(8, 8)))  # root is a Path here
    runner.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    saved = checkpoint["datamodule_hyper_parameters"]
    assert saved["root"] == str(root)
    assert saved["image_size"] == (8, 8)
    again = ImageFolderDataModule.load_from_checkpoint(tmp_path / "last.ckpt")
    assert again.options == module(root, image_size=(8, 8)).options


def test_checkpoints_hold_paths_that_other_folders_know(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    data = module("images", split="split.csv")
    assert (data.hparams["root"], data.hparams["split"]) == (str(root), str(tmp_path / "split.csv"))
    assert (data.options.root, data.options.split) == ("images", "split.csv")
    assert module(None, dataset=FAKE).hparams["root"] is None
    assert module("images", split="keras").hparams["split"] == "keras"


def test_checkpoints_hold_plain_values_where_others_were_given(root: Path, tmp_path: Path) -> None:
    given = {"batch_size": np.int64(4), "seed": np.int64(3), "val_fraction": np.float64(0.5), "image_size": np.int32(8)}
    runner = trainer(tmp_path)
    runner.fit(Mean(), datamodule=module(root, cache_folder=tmp_path / "cache", **given))
    runner.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["datamodule_hyper_parameters"]
    assert saved["cache_folder"] == str(tmp_path / "cache")
    assert {name: saved[name] for name in given} == given
    assert {type(saved[name]) for name in given} == {int, float}


def test_it_can_be_sent_to_other_processes(root: Path) -> None:
    data = module(root)
    data.setup("fit")
    assert pickle.loads(pickle.dumps(data)).samples == data.samples


class SaveSeen(Callback):
    """Leaves behind what each rank has seen."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(trainer.train_dataloader.sampler, EpochSampler)  # type: ignore[union-attr]
        torch.save(pl_module.seen, Path(trainer.default_root_dir) / f"{trainer.global_rank}.pt")


@pytest.mark.parametrize("mode", ["power", "binsearch"])
def test_lightnings_tuner_finds_a_batch_size_and_it_is_used(root: Path, tmp_path: Path, mode: str) -> None:
    runner, data, model = trainer(tmp_path), module(root), Mean()
    options = {"mode": mode, "init_val": 2, "max_trials": 3, "steps_per_trial": 1, "margin": 0.0}
    assert Tuner(runner).scale_batch_size(model, datamodule=data, **options) == 8
    assert (data.batch_size, data.options.batch_size, data.hparams["batch_size"]) == (8, 8, 8)
    assert {len(batch) for batch in model.seen["fit"]} == {4, 8}, "it asks for loaders before it says the first size"
    model.seen["fit"] = []
    runner.fit(model, datamodule=data)
    assert [len(batch) for batch in model.seen["fit"]] == [8, 8]


def test_a_batch_size_that_is_set_is_checked(root: Path) -> None:
    data = module(root)
    with pytest.raises(InputError, match="data.batch_size must be an integer of at least 1. Received: 0"):
        data.batch_size = 0
    assert data.hparams["batch_size"] == data.batch_size == 4


@pytest.mark.slow
@pytest.mark.parametrize("attached", [True, False])
def test_two_ranks_together_see_what_one_process_sees(root: Path, tmp_path: Path, attached: bool) -> None:
    options = {"devices": 2, "strategy": "ddp_spawn", "callbacks": [SaveSeen()], "num_sanity_val_steps": 0}
    data = module(root)
    given = (data,) if attached else (data.train_dataloader(), data.val_dataloader())
    trainer(tmp_path, **options).fit(Mean(), *given)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    alone = Mean()
    trainer(tmp_path, num_sanity_val_steps=0).fit(alone, datamodule=module(root, batch_size=8))
    assert [a + b for a, b in zip(*(rank["fit"] for rank in ranks), strict=True)] == alone.seen["fit"]
    assert sorted(flat(ranks[0]["validate"] + ranks[1]["validate"])) == flat(alone.seen["validate"])
