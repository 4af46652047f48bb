"""The course of a phase: early stopping, schedules, and the weights that it hands on."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from training import PHASES, SMALL, Fit, make_data, make_model, make_trainer, phased

from lightning_tl import PhasedFinetuning, TransferClassifier
from lightning_tl.phase import Phase
from lightning_tl.schedule import build_scheduler
from lightning_tl.stopping import PhaseStopping


def test_early_stopping_ends_the_phase_and_shortens_the_run(fit: Fit) -> None:
    stop = {"monitor": "val_loss", "patience": 1, "min_delta": 100.0}
    phases = [{**PHASES[0], "epochs": 5, "early_stopping": stop}, PHASES[1]]
    _, trainer, recorder = fit(phases)
    # The first epoch improves on infinity, the second does not improve by 100.
    assert [len(epoch["trainable"]) for epoch in recorder.epochs] == [2, 2, 23, 23]
    assert [entry["epochs"] for entry in phased(trainer).results()] == [2, 2]
    assert trainer.current_epoch == 4


def test_early_stopping_in_the_last_phase_ends_the_run(fit: Fit) -> None:
    phases = [PHASES[0], {**PHASES[1], "epochs": 5, "early_stopping": {"patience": 1, "min_delta": 100.0}}]
    _, trainer, recorder = fit(phases)
    assert len(recorder.epochs) == 4
    assert trainer.current_epoch == 4


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, "min"),
        ({"monitor": "val_loss"}, "min"),
        ({"monitor": "val_accuracy"}, "max"),
        ({"monitor": "val_f1"}, "max"),
        ({"monitor": "val_accuracy", "mode": "min"}, "min"),
        ({"monitor": "val_loss", "mode": "max"}, "max"),
    ],
    ids=str,
)
def test_what_is_monitored_is_to_become_better(options: dict[str, Any], mode: str) -> None:
    phase = Phase("head", 1, 1e-3, scheduler="plateau", scheduler_args=options, early_stopping=options)
    stopper = PhaseStopping(phase)._stopper
    scheduler = build_scheduler(torch.optim.SGD([torch.zeros(1)]), phase)
    assert stopper is not None
    assert scheduler is not None
    assert stopper.mode == scheduler["scheduler"].mode == mode
    assert stopper.monitor == scheduler["monitor"] == options.get("monitor", "val_loss")


def test_a_phase_can_start_from_the_best_weights_of_the_one_before(fit: Fit) -> None:
    """At this learning rate the head gets worse after its best epoch."""

    class Heads(Callback):
        def __init__(self) -> None:
            self.after: list[torch.Tensor] = []
            self.losses: list[float] = []
            self.start = torch.empty(0)

        def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            if not trainer.sanity_checking:
                self.after.append(pl_module.head.weight.detach().clone())  # type: ignore[union-attr, operator]
                self.losses.append(float(trainer.callback_metrics["val_loss"]))

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 4 and batch_idx == 0:
                self.start = pl_module.head.weight.detach().clone()

    heads = Heads()
    worse = {**PHASES[0], "epochs": 2, "lr": 30.0, "start_from": "best"}
    last = {**PHASES[1], "epochs": 1, "start_from": "best"}
    fit([{**PHASES[0], "epochs": 4, "lr": 30.0}, last], callbacks=[heads])
    best = min(range(4), key=lambda epoch: heads.losses[epoch])
    assert best != 3, "the test needs a phase whose last epoch is not its best"
    assert torch.equal(heads.start, heads.after[best])

    heads = Heads()  # of the phase before alone, however good an earlier one was
    fit([PHASES[0], {**worse, "name": "worse"}, last], callbacks=[heads])
    assert min(heads.losses[:2]) < min(heads.losses[2:4]), "the test needs a second phase that is worse"
    assert torch.equal(heads.start, heads.after[min((2, 3), key=lambda epoch: heads.losses[epoch])])


def test_statistics_of_a_subclass_are_those_of_the_best_weights_too(images: Path, tmp_path: Path) -> None:
    class Normalised(TransferClassifier):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.norm = nn.BatchNorm1d(self.backbone.num_features, momentum=0.5)

        def classify(self, features: Tensor, uniforms: Tensor | None = None) -> Tensor:
            return super().classify(self.norm(features), uniforms)

    class Statistics(Callback):
        def __init__(self) -> None:
            self.after: list[dict[str, Tensor]] = []
            self.losses: list[float] = []

        def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            if not trainer.sanity_checking:
                self.after.append({name: value.clone() for name, value in pl_module.norm.state_dict().items()})  # type: ignore[operator, union-attr]
                self.losses.append(float(trainer.callback_metrics["val_loss"]))

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 4 and batch_idx == 0:
                self.start = {name: value.clone() for name, value in pl_module.norm.state_dict().items()}

    data, seen = make_data(images), Statistics()
    torch.manual_seed(0)
    model = Normalised(data.class_names, backbone=SMALL, weights="none", image_size=32)
    phases = [{**PHASES[0], "epochs": 4, "lr": 0.05}, {**PHASES[1], "epochs": 1, "start_from": "best"}]
    make_trainer(tmp_path, phases, callbacks=[seen]).fit(model, data)
    best = min(range(4), key=lambda epoch: seen.losses[epoch])
    assert best != 3, "the test needs a phase whose last epoch is not its best"
    assert all(torch.equal(value, seen.after[best][name]) for name, value in seen.start.items())
    assert not torch.equal(seen.start["running_mean"], seen.after[3]["running_mean"])


def test_schedulers_start_anew_in_each_phase(fit: Fit) -> None:
    plateau = {
        "scheduler": "plateau",
        "scheduler_args": {"patience": 0, "factor": 0.5, "threshold": 100.0, "threshold_mode": "abs"},
    }
    phases = [
        {**PHASES[0], "epochs": 2, "lr": 1.0, "scheduler": "cosine"},
        {**PHASES[1], "epochs": 3, "lr": 1e-3, **plateau},
    ]
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0:
                rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    fit(phases, callbacks=[Rates()])
    assert rates == pytest.approx([1.0, 0.5, 1e-3, 1e-3, 5e-4])


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned on metric val_loss which is not available")
def test_a_plateau_is_judged_by_new_metrics_alone(fit: Fit) -> None:
    """Lightning gives those of the last validation again, and each time they are no better than they were."""
    options = {"patience": 0, "factor": 0.5, "threshold": 100.0, "threshold_mode": "abs"}  # no improvement ever
    phases = [
        {**PHASES[0], "epochs": 2, "lr": 1e-3, "scheduler": "plateau", "scheduler_args": options},
        {**PHASES[1], "epochs": 6, "lr": 1e-3, "scheduler": "plateau", "scheduler_args": options},
    ]
    _, _, recorder = fit(phases, check_val_every_n_epoch=2)
    # Validated in epochs 2, 4, 6 and 8; the first one of a phase is its best so far, and the next is no better.
    assert [epoch["lr"] for epoch in recorder.epochs] == [*[1e-3] * 6, *[5e-4] * 2]


def test_callbacks_listed_before_it_see_the_phase_of_the_epoch(images: Path, tmp_path: Path) -> None:
    """As those of a config are: the command line puts its own last."""
    monitor, data = LearningRateMonitor(logging_interval="epoch"), make_data(images)
    trainer = make_trainer(tmp_path, callbacks=[monitor], logger=CSVLogger(tmp_path))
    trainer.callbacks = sorted(trainer.callbacks, key=lambda each: isinstance(each, PhasedFinetuning))  # type: ignore[attr-defined]
    assert trainer.callbacks[-1] is phased(trainer)  # type: ignore[attr-defined]
    trainer.fit(make_model(data), data)
    (rates,) = monitor.lrs.values()
    assert rates == [1e-2, 1e-2, 1e-3, 1e-3]


def test_the_clock_of_training_stands_while_checkpoints_are_written_and_runs_while_images_are_loaded(
    images: Path, tmp_path: Path
) -> None:
    stood: list[bool] = []
    ran: list[bool] = []

    class Watch(Checkpoint):
        def _look(self, trainer: lightning.Trainer) -> None:
            stood.append(phased(trainer).recorder._clock == 0)

        def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            self._look(trainer)

        def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            if not trainer.sanity_checking:
                self._look(trainer)

    class Model(TransferClassifier):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            if self.trainer.training:
                ran.append(phased(self.trainer).recorder._clock > 0)
            return super().on_before_batch_transfer(batch, dataloader_idx)

    data = make_data(images)
    watch = {"callbacks": [Watch()], "enable_checkpointing": True}
    trainer = make_trainer(tmp_path, val_check_interval=0.5, **watch)
    before = list(trainer.callbacks)  # type: ignore[attr-defined]
    model = Model(data.class_names, backbone=SMALL, weights="none", image_size=32)
    trainer.fit(model, data)
    assert stood == [True] * 16  # at the start of each epoch, and after each of its three batches
    assert ran == [True] * 12
    assert all(entry["images_per_second"] > 0 for entry in phased(trainer).results())
    assert trainer.callbacks == before  # type: ignore[attr-defined]
