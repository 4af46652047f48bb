"""What users of Lightning do with the module besides fitting it once: look at it, extend it, export it, reuse it."""

import warnings
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    ModelSummary,
    StochasticWeightAveraging,
)
from torch import Tensor, nn
from training import PHASES, Fit, make_data, make_model, make_trainer

from lightning_tl import InputError, TransferClassifier, finish_fit
from lightning_tl.augment import RandomFlip
from lightning_tl.best_checkpoint import BestCheckpoint

ONE = [{**PHASES[0], "epochs": 1}]


def interrupt(trainer: lightning.Trainer, *_: object) -> None:
    if not trainer.sanity_checking:
        raise KeyboardInterrupt


@pytest.mark.parametrize("before", ["eval", "freeze", "interrupted in a validation"])
def test_a_fit_has_dropout_whatever_was_done_before(images: Path, tmp_path: Path, before: str) -> None:
    data = make_data(images)
    model = make_model(data, seed=0)
    if before == "interrupted in a validation":
        stop = Callback()
        stop.on_validation_batch_start = interrupt  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            make_trainer(tmp_path, ONE, callbacks=[stop]).fit(model, data)
        assert not model.dropout.training
    else:
        getattr(model, before)()
    seen: list[bool] = []
    look = Callback()
    look.on_train_batch_start = lambda *_: seen.append(model.dropout.training and model.training)  # type: ignore[method-assign]
    make_trainer(tmp_path, ONE, callbacks=[look]).fit(model, data)
    assert seen == [True] * 3
    assert not any(module.training for module in model.backbone.modules())


class OwnForward(TransferClassifier):
    """Has another head, which nothing trains."""

    def forward(self, images: Tensor) -> Tensor:
        return -super().forward(images)


class OwnSteps(OwnForward):
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch["image"]), batch["label"])


@pytest.mark.parametrize(("kind", "warned"), [(OwnForward, True), (OwnSteps, False), (TransferClassifier, False)])
def test_a_forward_that_only_predictions_have_is_warned_of(
    images: Path, tmp_path: Path, kind: type[TransferClassifier], warned: bool
) -> None:
    data = make_data(images)
    model = kind(data.class_names, backbone="timm/mobilenetv2_035", weights="none", image_size=32)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        make_trainer(tmp_path, ONE, fast_dev_run=1).fit(model, data)
    assert any("forward: OwnForward has one of its own" in str(each.message) for each in told) is warned


class Named(TransferClassifier):
    """Saves its own arguments, as Lightning's documentation has it."""

    def __init__(self, class_names: list[str], augment: Any = (), note: str = "") -> None:
        super().__init__(class_names, "timm/mobilenetv2_035", "none", image_size=32, augment=augment)
        self.save_hyperparameters()


def test_a_subclass_that_saves_its_arguments_loads_again(images: Path, tmp_path: Path) -> None:
    data = make_data(images)
    model = Named(list(data.class_names), [RandomFlip("horizontal")], note="mine")
    trainer = make_trainer(tmp_path, ONE)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = Named.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert loaded.hparams["note"] == "mine"
    assert torch.equal(loaded.head.weight, model.head.weight)
    assert loaded.hparams["augment"] == [RandomFlip("horizontal").to_config()]


def test_lightnings_summary_sends_its_example(images: Path, tmp_path: Path) -> None:
    """A bare tensor, before a fit and after it."""
    data = make_data(images)
    model = make_model(data)
    model.example_input_array = torch.zeros(2, 3, 32, 32)
    trainer = make_trainer(tmp_path, ONE, callbacks=[ModelSummary()], enable_model_summary=True)
    trainer.fit(model, data)
    summary = lightning.pytorch.utilities.model_summary.ModelSummary(model)
    assert [2, 3] in summary.out_sizes  # of the head


def test_a_loader_of_bare_tensors_is_still_told_what_is_needed(images: Path, tmp_path: Path) -> None:
    data = make_data(images)
    loader: Any = [torch.zeros(2, 3, 32, 32)]
    with pytest.raises(InputError, match="batch: loaders give a dict of image .* Received: Tensor"):
        make_trainer(tmp_path, ONE).fit(make_model(data), loader, loader)


def test_averaging_that_resets_statistics_is_refused_without_phases_too(images: Path, tmp_path: Path) -> None:
    data = make_data(images)
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=2, callbacks=[StochasticWeightAveraging(1e-3)], **options)
    with pytest.raises(InputError, match="StochasticWeightAveraging .* Take EMAWeightAveraging"):
        trainer.fit(make_model(data), data)


def test_early_stopping_of_the_run_is_told_apart_from_a_phases(fit: Fit) -> None:
    with pytest.warns(UserWarning, match="EarlyStopping ends the whole run, in whichever phase it is"):
        fit(callbacks=[EarlyStopping("val_loss")], fast_dev_run=1)


def test_classes_have_names(images: Path) -> None:
    with pytest.raises(InputError, match=r"class_names: text is needed. Received: \[0, 1\]"):
        TransferClassifier([0, 1], weights="none")  # type: ignore[list-item]


class Normalised(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = torch.linspace(-2.1, 2.6, 3 * 32 * 32).reshape(3, 32, 32)
        return {"image": image, "label": index % 3, "index": index}


def test_normalised_pixels_are_refused(images: Path, tmp_path: Path) -> None:
    data = make_data(images)
    loader = torch.utils.data.DataLoader(Normalised(), batch_size=2)
    with pytest.raises(InputError, match=r"of -2.1 to 2.6 in the first batch; .* Normalize is to be left out"):
        make_trainer(tmp_path, ONE).fit(make_model(data), loader, loader)


def test_an_epoch_has_its_own_metrics_after_a_checkpoint_of_the_last_ones_validation(
    images: Path, tmp_path: Path
) -> None:
    """Lightning resumes it behind the last batch, with all that the epoch had added up."""
    options: dict[str, Any] = {"enable_checkpointing": True, "val_check_interval": 1.0, "check_val_every_n_epoch": 1}
    losses: list[float] = []

    class Note(Callback):
        def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            losses.append(float(trainer.callback_metrics.get("train_loss", torch.nan)))

    class Save(Callback):
        def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            if not trainer.sanity_checking:
                trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    phases = [{**PHASES[0], "epochs": 3}]
    for resumed in (None, tmp_path / "1.ckpt"):
        lightning.seed_everything(0, verbose=False)
        data = make_data(images)
        callbacks = [Note(), *([] if resumed else [Save()])]
        trainer = make_trainer(tmp_path, phases, callbacks=callbacks, **options)
        trainer.fit(make_model(data, seed=0), data, ckpt_path=resumed, weights_only=True)
    assert len(losses) in (5, 4)  # of the resumed run, that of the epoch that is over may be left out
    assert losses[-1] == losses[2]


@pytest.fixture
def halves(images: Path) -> list[Any]:
    return [make_data(images, seed=seed) for seed in (0, 1)]


@pytest.mark.parametrize("own", [True, False])
def test_a_fold_is_not_judged_by_the_best_of_another(halves: list[Any], tmp_path: Path, own: bool) -> None:
    """The callback of all folds, which the first made very sure of itself, has kept that one's file."""
    best: ModelCheckpoint = BestCheckpoint(tmp_path) if own else ModelCheckpoint(tmp_path, monitor="val_loss")
    heads = []
    for data in halves:
        model = make_model(data)
        trainer = make_trainer(tmp_path, ONE, callbacks=[best], enable_checkpointing=True)
        trainer.fit(model, data)
        heads.append(model.head.weight.detach().clone())
        if not own:
            best.best_model_score = torch.tensor(-1.0)
            best.best_k_models = {best.best_model_path: best.best_model_score}
            best.kth_value = best.best_model_score
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            finish_fit(trainer, model, data, tmp_path, [{"name": "head", "epochs": 1}], pictures=False)
        assert torch.equal(model.head.weight, heads[-1])
        assert any("is the best of an earlier fit" in str(each.message) for each in told) is (
            len(heads) == 2 and not own
        )


def test_a_run_in_float64_resumes_in_float64(fit: Fit, images: Path, tmp_path: Path) -> None:
    """Lightning loads the weights before it makes the module float64."""
    module, trainer, _ = fit(precision="64-true")
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    data = make_data(images)
    resumed = make_model(data, seed=0)
    phases = [PHASES[0], {**PHASES[1], "epochs": 2}]
    make_trainer(tmp_path, phases, precision="64-true").fit(
        resumed, data, ckpt_path=str(tmp_path / "a.ckpt"), weights_only=True
    )
    assert resumed.head.weight.dtype == torch.float64
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), module.parameters(), strict=True))


class TwoLoaders(TransferClassifier):
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        super().test_step(batch, batch_idx)


@pytest.mark.parametrize(("stage", "evaluates"), [("val", "validate"), ("test", "test")])
def test_a_second_loader_is_refused_whose_metrics_nobody_would_see(
    images: Path, tmp_path: Path, stage: str, evaluates: str
) -> None:
    data = make_data(images)
    data.setup("fit")
    model = TwoLoaders(data.class_names, backbone="timm/mobilenetv2_035", weights="none", image_size=32)
    trainer, loader = make_trainer(tmp_path, ONE), data.val_dataloader()
    (alone,) = getattr(trainer, evaluates)(model, [loader], verbose=False)
    assert f"{stage}_loss" in alone
    with pytest.raises(InputError, match=rf"^{stage}: .* Received: 2 loaders; .* or to trainer.{evaluates} one after"):
        getattr(trainer, evaluates)(model, [loader, loader], verbose=False)


def test_labels_of_another_kind_have_no_loss_in_prediction(images: Path, tmp_path: Path) -> None:
    """As of several classes at once, which a subclass has steps of its own for."""

    class Several(TransferClassifier):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            label = torch.eye(self.num_classes)[batch["label"]]
            return super().on_after_batch_transfer({**batch, "label": label}, dataloader_idx)

    data = make_data(images)
    data.setup("fit")
    model = Several(data.class_names, backbone="timm/mobilenetv2_035", weights="none", image_size=32)
    found = make_trainer(tmp_path, ONE).predict(model, data.val_dataloader())
    assert found
    assert all(rows["loss"].isnan().all() and rows["label"].shape == rows["probabilities"].shape for rows in found)


@pytest.mark.parametrize("names", ["abc", ["a", "a"], ["a", "b", "a"], ["a"]])
def test_classes_are_names_that_differ(names: Any) -> None:
    with pytest.raises(InputError, match="class_names: at least two classes, each once, are needed. Received: "):
        TransferClassifier(names, weights="none")
