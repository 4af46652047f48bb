"""The phase callback inside real, small fits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
from training import PHASES, draw_images, make_data, make_model, make_trainer

from lightning_tl import InputError, KerasAdam, PhasedFinetuning, TransferClassifier

FEW_LAYERS = "timm/test_efficientnet"
"""For torch.compile, which traces them one by one."""


class Recorder(Callback):
    """Notes, at each epoch's end, what was trainable and with which optimizer."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.losses: list[float] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        optimizer = trainer.optimizers[0]
        self.epochs.append(
            {
                "trainable": [name for name, p in pl_module.named_parameters() if p.requires_grad],
                "optimizer": id(optimizer),
                "class": type(optimizer),
                "lr": optimizer.param_groups[0]["lr"],
                "steps": optimizer.param_groups[0].get("steps"),
            }
        )
        self.losses.append(float(trainer.callback_metrics["train_loss"]))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("images"))


Fit = Callable[..., tuple[TransferClassifier, lightning.Trainer, Recorder]]


@pytest.fixture
def fit(images: Path, tmp_path: Path) -> Fit:
    def run(phases: list[dict[str, Any]] = PHASES, model: dict[str, Any] | None = None, **options: Any) -> Any:
        lightning.seed_everything(0, verbose=False)  # of the backbone's random weights
        data, recorder = make_data(images), Recorder()
        module = make_model(data, **(model or {}))
        trainer = make_trainer(tmp_path, phases, callbacks=[recorder, *options.pop("callbacks", [])], **options)
        trainer.fit(module, data)
        return module, trainer, recorder

    return run


def phased(trainer: lightning.Trainer) -> PhasedFinetuning:
    return next(callback for callback in trainer.callbacks if isinstance(callback, PhasedFinetuning))  # type: ignore[attr-defined]


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
    phases = [{**PHASES[0], "epochs": 4, "lr": 30.0}, {**PHASES[1], "epochs": 1, "start_from": "best"}]
    fit(phases, callbacks=[heads])
    best = min(range(4), key=lambda epoch: heads.losses[epoch])
    assert best != 3, "the test needs a phase whose last epoch is not its best"
    assert torch.equal(heads.start, heads.after[best])


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


@pytest.mark.parametrize("compiled", [False, True])
def test_compiled_modules_train_what_each_phase_says(images: Path, tmp_path: Path, compiled: bool) -> None:
    """A graph captured while the backbone was frozen would never train it."""
    lightning.seed_everything(0, verbose=False)
    data, recorder = make_data(images), Recorder()
    module = make_model(data, backbone=FEW_LAYERS)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    trainer = make_trainer(tmp_path, callbacks=[recorder])
    trainer.fit(torch.compile(module, backend="eager") if compiled else module, data)
    changed = [key for key, value in module.state_dict().items() if not torch.equal(value, before[key])]
    assert sorted(changed) == sorted(recorder.epochs[-1]["trainable"])


def test_everything_compiled_is_compiled_anew_at_a_phase_change(images: Path, tmp_path: Path) -> None:
    """Even where no guard of the compiler asks for it: both phases train the same layers, validation trains none."""
    compiled: list[str] = []
    stage = "train"

    def counting(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        compiled.append(stage)
        return graph.forward

    class Stages(Callback):
        def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            nonlocal stage
            stage = f"validation {trainer.current_epoch}"

        def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            nonlocal stage
            stage = "train"

    data = make_data(images)
    module = make_model(data, backbone=FEW_LAYERS, augment=[])
    phases = [{**PHASES[0], "name": name, "epochs": 1} for name in ("one", "two")]
    trainer = make_trainer(tmp_path, phases, callbacks=[Stages()], num_sanity_val_steps=0, limit_train_batches=1)
    trainer.fit(torch.compile(module, backend=counting), data)
    assert {"validation 0", "validation 1"} <= set(compiled)


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


def test_max_epochs_beside_phases_must_agree(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"max_epochs: the phases last 4 epochs together. Received: 7"):
        fit(max_epochs=7)
    assert len(fit(max_epochs=4)[2].epochs) == 4


def test_a_phase_that_cannot_work_is_refused_before_training(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"unfreeze_last: timm/mobilenetv2_035 has 154 layers. Received: 155"):
        fit([PHASES[0], {**PHASES[1], "unfreeze_last": 155}])
    with pytest.raises(InputError, match=r"finetune: the cosine scheduler does not take scheduler_args"):
        fit([PHASES[0], {**PHASES[1], "scheduler": "cosine", "scheduler_args": {"gamma": 1}}])
    with pytest.raises(InputError, match=r"finetune: no optimizer at this class path"):
        fit([PHASES[0], {**PHASES[1], "optimizer": "torch.optim.Adum"}])
    with pytest.raises(InputError, match=r"finetune: early_stopping takes the arguments"):
        fit([PHASES[0], {**PHASES[1], "early_stopping": {"patient": 1}}])


@pytest.mark.parametrize("stopped", [False, True], ids=["planned", "stopped early"])
def test_resuming_continues_phase_optimizer_and_record(fit: Fit, images: Path, tmp_path: Path, stopped: bool) -> None:
    """From the checkpoint of every epoch, the rest of the run is the uninterrupted one, bit for bit."""
    head = {**PHASES[0], "epochs": 2}
    if stopped:
        head |= {"epochs": 5, "early_stopping": {"patience": 1, "min_delta": 100.0}}
    phases = [head, PHASES[1]]
    save = ModelCheckpoint(tmp_path / "saved", filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    module, trainer, recorder = fit(phases, callbacks=[save], enable_checkpointing=True)
    for epoch in range(4):
        data = make_data(images)
        resumed, rest = make_model(data, seed=0), Recorder()
        saving = ModelCheckpoint(
            tmp_path / "saved",
            filename="{epoch}",
            save_top_k=-1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        again = make_trainer(tmp_path, phases, callbacks=[rest, saving], enable_checkpointing=True)
        again.fit(resumed, data, ckpt_path=str(tmp_path / "saved" / f"epoch={epoch}.ckpt"), weights_only=True)
        assert rest.losses == recorder.losses[epoch + 1 :]
        assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), module.parameters(), strict=True))
        assert [(e["name"], e["epochs"], e["val_loss"]) for e in phased(again).results()] == [
            (e["name"], e["epochs"], e["val_loss"]) for e in phased(trainer).results()
        ]


def test_resuming_with_other_phases_is_refused(fit: Fit, images: Path, tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path / "saved", save_last=True)
    fit(callbacks=[save], enable_checkpointing=True)
    data = make_data(images)
    phases = [{**PHASES[0], "name": "warmup"}, PHASES[1]]
    again = ModelCheckpoint(tmp_path / "again", save_last=True)
    trainer = make_trainer(tmp_path, phases, callbacks=[again], enable_checkpointing=True)
    with pytest.raises(InputError, match="the checkpoint has been through head, finetune; the config says warmup"):
        trainer.fit(make_model(data), data, ckpt_path=str(tmp_path / "saved" / "last.ckpt"), weights_only=True)


def test_other_modules_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trains a TransferClassifier. Received: BoringModel"):
        make_trainer(tmp_path).fit(BoringModel())
