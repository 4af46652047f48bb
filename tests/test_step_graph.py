"""What a recorded training step gives, and what becomes of its graph; that graphs compute the same: test_gpu.py."""

import copy
import pickle
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from recorded import Recordings, batch, record, small_model, step, used
from torch import Tensor
from training import PHASES, draw_images, make_data, make_model, make_trainer

from lightning_tl import TransferClassifier, step_graph


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    return record(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> TransferClassifier:
    return small_model(tmp_path / "images")


class Kept(Callback):
    """Losses of all steps."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))


def trained(images: Path, folder: Path, **options: Any) -> tuple[list[float], dict[str, Tensor], dict[str, Tensor]]:
    """Losses, last metrics and weights of a run through both phases."""
    lightning.seed_everything(0, verbose=False)
    data, kept = make_data(images), Kept()
    model = make_model(data)
    trainer = make_trainer(folder, callbacks=[kept], **options)
    trainer.fit(model, data)
    return kept.losses, dict(trainer.callback_metrics), dict(model.state_dict())


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}])
def test_a_run_of_recorded_steps_is_the_plain_one(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = draw_images(tmp_path / "images")
    plain = trained(images, tmp_path, **options)
    with monkeypatch.context() as patch:
        made = record(patch)
        recorded = trained(images, tmp_path, **options)
    assert made.steps == len(PHASES)
    assert recorded[0] == plain[0]
    for mine, theirs in zip(recorded[1:], plain[1:], strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], value) for name, value in theirs.items())


def gradients(model: TransferClassifier, loss: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def test_the_loss_has_the_plain_steps_gradients(recordings: Recordings, model: TransferClassifier) -> None:
    for number in (0, 1, 2):
        recorded = step(model, number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_graph, "offered", lambda x: False)
            plain = step(model, number)
        assert torch.equal(recorded, plain)
        mine, theirs = gradients(model, recorded / 2), gradients(model, plain / 2)
        assert len(theirs) > 5
        assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))
        assert ("_Known" in str(recorded.grad_fn)) == (number > 0)  # the first batch may never come again
    assert recordings.steps == 1


@pytest.mark.usefixtures("recordings")
def test_losses_of_two_batches_have_gradients_of_their_own(model: TransferClassifier) -> None:
    step(model)
    wanted = [gradients(model, step(model, number)) for number in (1, 2)]
    got = gradients(model, step(model, 1) + step(model, 2))
    torch.testing.assert_close(got, [one + other for one, other in zip(*wanted, strict=True)])


@pytest.mark.usefixtures("recordings")
def test_a_loss_is_gone_through_twice_where_it_is_kept(model: TransferClassifier) -> None:
    """As by a callback that looks at gradients before Lightning does."""
    step(model)
    loss = step(model)
    once = torch.autograd.grad(loss, list(model.head.parameters()), retain_graph=True)
    loss.backward()
    torch.testing.assert_close(once, (model.head.weight.grad, model.head.bias.grad))
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()


@pytest.mark.usefixtures("recordings")
def test_graphs_make_room_for_larger_batches(model: TransferClassifier) -> None:
    """As where Lightning looks for the largest that fits."""

    def of(count: int) -> None:
        whole = batch()
        model.training_step({name: value[:count] for name, value in whole.items()}, 0)

    for count in (4, 4, 3, 3):
        of(count)
    assert used(model) == 2
    of(8)
    assert used(model) == 0


def test_a_run_that_failed_gives_the_memory_back(recordings: Recordings, tmp_path: Path) -> None:
    class Fails(Callback):
        def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            assert used(pl_module) == 1  # type: ignore[arg-type]
            raise KeyError("mine")

    data = make_data(draw_images(tmp_path / "more"))
    model = make_model(data)
    with pytest.raises(KeyError):
        make_trainer(tmp_path, callbacks=[Fails()]).fit(model, data)
    assert recordings.steps == 1
    assert not used(model.cpu())


@pytest.mark.usefixtures("recordings")
def test_graphs_do_not_travel(model: TransferClassifier) -> None:
    for _ in range(2):
        step(model)
    assert used(model) == 1
    for other in (copy.deepcopy(model._step_graph), pickle.loads(pickle.dumps(model._step_graph))):
        assert not other._recorder._graphs
    model.set_phase(model.phase)
    assert not used(model)
