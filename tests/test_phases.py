"""The phase callback inside real, small fits: what each phase trains, and with what."""

import time
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from training import PHASES, Fit, make_data, make_model, phased

from lightning_tl import KerasAdam, PhasedFinetuning


def test_two_phases_train_what_they_say_with_a_fresh_optimizer_each(fit: Fit) -> None:
    _, trainer, recorder = fit()
    assert [epoch["lr"] for epoch in recorder.epochs] == [1e-2, 1e-2, 1e-3, 1e-3]
    assert [len(epoch["trainable"]) for epoch in recorder.epochs] == [2, 2, 23, 23]
    assert [epoch["steps"] for epoch in recorder.epochs] == [3, 6, 3, 6]
    assert {epoch["class"] for epoch in recorder.epochs} == {KerasAdam}
    results = phased(trainer).results()
    assert [(entry["name"], entry["epochs"]) for entry in results] == [("head", 2), ("finetune", 2)]
    assert all(entry["images_per_second"] > 0 and 0 <= entry["val_accuracy"] <= 1 for entry in results)
    assert all({"val_loss", "val_f1"} <= set(entry) for entry in results)


def test_every_moving_statistic_is_bit_identical_after_both_phases_and_frozen_weights_too(fit: Fit) -> None:
    class Before(Callback):
        state: dict[str, torch.Tensor]

        def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            self.state = {key: value.clone() for key, value in pl_module.state_dict().items()}

    before = Before()
    module, _, recorder = fit(callbacks=[before])
    trained = set(recorder.epochs[-1]["trainable"])
    statistics = [key for key in before.state if "running_" in key or "num_batches" in key]
    assert len(statistics) == 3 * 52
    for key, value in module.state_dict().items():
        assert torch.equal(value, before.state[key]) is (key not in trained), key


def test_same_seed_gives_the_same_losses_and_another_seed_others(fit: Fit) -> None:
    first, again, other = (fit(model={"seed": seed})[2].losses for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_any_optimizer_class_weights_clipping_and_accumulation_work_across_phases(fit: Fit) -> None:
    sgd = {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}
    phases = [PHASES[0], {**PHASES[1], "optimizer": sgd}]
    model = {"class_weights": {"red": 2.0}, "label_smoothing": 0.1}
    _, trainer, recorder = fit(phases, model, gradient_clip_val=0.5, accumulate_grad_batches=2)
    assert [epoch["class"] for epoch in recorder.epochs] == [KerasAdam] * 2 + [torch.optim.SGD] * 2
    assert recorder.epochs[1]["steps"] == 4  # 3 batches an epoch, 2 to a step, the last step with one
    assert trainer.global_step == 8


def test_clipping_accumulation_class_weights_and_smoothing_act_in_every_phase(fit: Fit) -> None:
    """Plain SGD at rate 1 moves by the clipped gradient, so the length of a step is the clip value."""
    weights = torch.tensor([1.0, 1.0, 3.0])

    def flat(module: torch.nn.Module) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])

    class Steps(Callback):
        def __init__(self) -> None:
            self.moved: list[float] = []
            self.losses: list[tuple[float, float]] = []

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            self.before = flat(pl_module)
            with torch.no_grad():
                each = F.cross_entropy(pl_module(batch["image"]), batch["label"], reduction="none", label_smoothing=0.1)
            self.wanted = float((each * weights[batch["label"]]).mean())

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.moved.append(float((flat(pl_module) - self.before).norm()))
            self.losses.append((float(outputs["loss"]), self.wanted))

    steps = Steps()
    phases = [{**phase, "lr": 1.0, "epochs": 1, "optimizer": "torch.optim.SGD"} for phase in PHASES]
    model = {"class_weights": {"red": 3.0}, "label_smoothing": 0.1, "augment": [], "dropout": 0.0}
    fit(phases, model, callbacks=[steps], gradient_clip_val=0.01, accumulate_grad_batches=2)
    # 3 batches an epoch, 2 to a step, the last step with one
    assert steps.moved == pytest.approx([0.0, 0.01, 0.01] * 2, rel=0.01)
    for loss, wanted in steps.losses:
        assert 2 * loss == pytest.approx(wanted, rel=1e-4)  # Lightning halves the loss for two batches a step


def test_fast_dev_run_visits_every_phase_once(fit: Fit) -> None:
    _, trainer, recorder = fit([{**PHASES[0], "epochs": 50}, PHASES[1]], fast_dev_run=True)
    assert [len(epoch["trainable"]) for epoch in recorder.epochs] == [2, 23]
    assert trainer.global_step == 2


def test_overfit_batches_trains_on_the_same_batch(fit: Fit) -> None:
    _, trainer, recorder = fit(overfit_batches=1, model={"augment": [], "dropout": 0.0})
    assert trainer.global_step == 4
    assert recorder.losses[-1] < recorder.losses[0]


def test_a_second_fit_starts_its_record_anew(images: Path, tmp_path: Path) -> None:
    callback = PhasedFinetuning([{**PHASES[0], "epochs": 1}])
    options = {"max_epochs": -1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    images_seen: list[int] = []
    for _ in range(2):
        data = make_data(images)
        trainer = lightning.Trainer(
            **options, callbacks=[callback], enable_progress_bar=False, default_root_dir=tmp_path
        )
        trainer.fit(make_model(data, augment=[]), data)
        images_seen.append(callback.recorder.history[0]["images"])
    assert [entry["epochs"] for entry in callback.results()] == [1]
    assert images_seen == [24, 24]


def test_the_speed_in_the_results_is_that_of_training_alone(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch takes a minute, and one of validation an hour."""
    real, passed = time.perf_counter, [0]

    class Slow(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            passed[0] += 60

        def on_validation_batch_end(self, *_: Any) -> None:
            passed[0] += 3600

    monkeypatch.setattr("lightning_tl.recorder.time.perf_counter", lambda: real() + passed[0])
    _, trainer, _ = fit(callbacks=[Slow()])
    history = phased(trainer).recorder.history
    assert [entry["images"] for entry in history] == [48, 48]
    assert [entry["seconds"] for entry in history] == pytest.approx([360, 360], abs=50)  # 3 batches in each of 2 epochs
