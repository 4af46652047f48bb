"""When a training step is recorded and what goes on around its graph; that graphs compute the same: test_gpu.py."""

import copy
import pickle
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAUROC
from training import PHASES, draw_images, make_data, make_model, make_trainer

from lightning_tl import TransferClassifier, cuda_graph, step_graph
from lightning_tl.stage_metrics import StageMetrics


class Recordings:
    """Stands in for ``capture``, which needs CUDA: how many training steps it was asked for, each its own graph."""

    def __init__(self) -> None:
        self.steps = 0
        self.kept: list[Sequence[Any]] = []

    def __call__(
        self, function: Callable[..., Any], inputs: Sequence[Tensor], kept: Sequence[Any] = (), copies: bool = True
    ) -> Callable[..., Any]:
        self.kept.append(kept)
        found = function(*inputs)
        self.steps += not isinstance(found, Tensor)

        def graph(*given: Tensor) -> Any:
            found = function(*given)
            return found if isinstance(found, Tensor) else cuda_graph.copied(found)

        return graph


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    made = Recordings()
    monkeypatch.setattr(cuda_graph, "capture", made)
    monkeypatch.setattr(cuda_graph, "offered", lambda x: True)
    monkeypatch.setattr(step_graph, "offered", lambda x: True)
    monkeypatch.setattr(step_graph, "waiting", nullcontext)
    return made


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
    made = Recordings()
    with monkeypatch.context() as patch:
        patch.setattr(cuda_graph, "capture", made)
        patch.setattr(cuda_graph, "offered", lambda x: True)
        patch.setattr(step_graph, "offered", lambda x: True)
        patch.setattr(step_graph, "waiting", nullcontext)
        recorded = trained(images, tmp_path, **options)
    assert made.steps == len(PHASES)
    assert recorded[0] == plain[0]
    for mine, theirs in zip(recorded[1:], plain[1:], strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], value) for name, value in theirs.items())


@pytest.fixture
def model(tmp_path: Path) -> TransferClassifier:
    torch.manual_seed(0)
    made = make_model(make_data(draw_images(tmp_path / "images")))
    made.backbone.unfreeze_last(5)
    made.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    return made.train()


def batch(number: int = 0, size: int = 32) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 256, (8, 3, size, size), generator=random).float()
    return {"image": pixels, "label": torch.arange(8) % 3, "index": torch.arange(8) + 8 * number}


def step(model: TransferClassifier, number: int = 0) -> Tensor:
    return model.training_step(batch(number, model.backbone.image_size[0]), number)


def used(model: TransferClassifier) -> int:
    """Graphs of steps that are in use."""
    return sum(graph is not None for graph in model._step_graph._recorder._graphs.values())


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


def test_sums_of_a_batch_read_nothing_of_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that did would go on reading them where they are no more."""
    random = torch.Generator().manual_seed(0)
    batches = [(torch.randn(6, 3, generator=random), torch.arange(6) % 3, torch.tensor(0.5 + n)) for n in range(3)]
    whole, summed = StageMetrics("train", 3), StageMetrics("train", 3)
    assert whole.sums_alone
    for of in batches:
        whole.update(*of)
        with monkeypatch.context() as patch:
            patch.setattr(Tensor, "__deepcopy__", None)
            sums = summed.sums_of(*of)
        summed.add(sums)
    for (name, wanted), (_, found) in zip(whole.named(), summed.named(), strict=True):
        assert wanted.update_count == found.update_count == 3
        assert torch.equal(wanted.compute(), found.compute()), name


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


def other_head(model: TransferClassifier) -> None:
    model.head = nn.Linear(model.backbone.num_features, 3)


def other_numbers(model: TransferClassifier) -> None:
    model.head.weight.data = model.head.weight.data.clone()


def other_layer(model: TransferClassifier) -> None:
    model.backbone.unfreeze_last(2)


def frozen_weights(model: TransferClassifier) -> None:
    with torch.no_grad():
        next(model.backbone.parameters()).mul_(2)


def other_rate(model: TransferClassifier) -> None:
    model.dropout.rate = 0.5


def other_smoothing(model: TransferClassifier) -> None:
    model.label_smoothing = 0.3


def other_mode(model: TransferClassifier) -> None:
    model.dropout.eval()


def other_class_weights(model: TransferClassifier) -> None:
    model.class_weights = torch.tensor([1.0, 2.0, 3.0])


def past_torch(model: TransferClassifier) -> None:
    next(model.backbone.parameters()).data.mul_(2)
    model.backbone.forget()


def no_class_weights(model: TransferClassifier) -> None:
    model.class_weights = None  # type: ignore[assignment]


def other_metrics(model: TransferClassifier) -> None:
    model.metrics["train_"] = StageMetrics("train", 3)


CHANGES = (
    past_torch, other_head, other_numbers, other_layer, frozen_weights, other_rate, other_smoothing, other_mode,
    other_class_weights, no_class_weights, other_metrics,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_another_model_is_recorded_anew(
    change: Callable[[TransferClassifier], None], recordings: Recordings, model: TransferClassifier
) -> None:
    for _ in range(3):
        step(model)
    assert recordings.steps == used(model) == 1
    change(model)
    for _ in range(3):
        step(model)
    assert recordings.steps == 2
    assert used(model) == 1


def test_folded_weights_that_others_have_replaced_are_kept(recordings: Recordings, model: TransferClassifier) -> None:
    """As in a callback that calls the model without autocast; a graph has the addresses of those before."""
    for _ in range(2):
        step(model)
    (kept,) = (kept for kept in recordings.kept if len(kept) > 1)
    held = {id(tensor) for of in kept for tensor in of}
    folded = [module.folded for module in model.backbone.modules() if getattr(module, "folded", None) is not None]
    assert len(folded) > 20
    assert {id(pair) for pair in folded} <= held
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        model(batch()["image"])
    model.train()
    step(model)
    assert recordings.steps == 1


@pytest.mark.parametrize("values", [("conv.fp32_precision", "tf32", "ieee"), ("deterministic", False, True)])
def test_settings_of_torch_are_those_of_now(
    values: tuple[str, Any, Any], recordings: Recordings, model: TransferClassifier
) -> None:
    """Of precision, too, after whose setting torch refuses to tell its older ones."""
    name, *settings = values
    of: Any = torch.backends.cudnn.conv if name.startswith("conv") else torch.backends.cudnn  # type: ignore[attr-defined]
    name = name.rpartition(".")[2]
    before = getattr(of, name)
    try:
        for setting in settings:
            setattr(of, name, setting)
            for _ in range(2):
                step(model)
    finally:
        setattr(of, name, before)
    assert recordings.steps == 2


def test_what_training_writes_is_read_by_the_same_graph(recordings: Recordings, model: TransferClassifier) -> None:
    optimizer = torch.optim.SGD([of for of in model.parameters() if of.requires_grad], 0.1)
    for number in range(4):
        optimizer.zero_grad()
        step(model, number).backward()
        optimizer.step()
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    step(model)
    assert recordings.steps <= 2  # reading a state writes to what is frozen, too


def watched_layer(model: TransferClassifier) -> None:
    list(model.backbone.modules())[-1].register_forward_hook(lambda *_: None)


def watched_head(model: TransferClassifier) -> None:
    model.head.register_full_backward_hook(lambda *_: None)


def watched_backbone(model: TransferClassifier) -> None:
    model.backbone.register_forward_hook(lambda *_: None)


def watched_gradient(model: TransferClassifier) -> None:
    model.head.weight.register_hook(lambda gradient: 2 * gradient)


def watched_backwards(model: TransferClassifier) -> None:
    model.head.register_full_backward_pre_hook(lambda *_: None)


def layer_watched_backwards(model: TransferClassifier) -> None:
    list(model.backbone.modules())[-1].register_full_backward_pre_hook(lambda *_: None)


def further_metric(model: TransferClassifier) -> None:
    model.metrics["train_"].scores.add_metrics({"auroc": MulticlassAUROC(3)})  # type: ignore[operator, union-attr]


def other_network(model: TransferClassifier) -> None:
    model.backbone.net = copy.deepcopy(model.backbone.net)


def in_float16(model: TransferClassifier) -> None:
    model.half()


def own_head(model: TransferClassifier) -> None:
    model.head = nn.Sequential(nn.Dropout(0.5), model.head)  # type: ignore[assignment]


def own_method(model: TransferClassifier) -> None:
    model.classify = lambda features, uniforms=None: model.head(features)  # type: ignore[method-assign]


def kept_features(model: TransferClassifier) -> None:
    model.cache_features = True


def kept_biases(model: TransferClassifier) -> None:
    model.backbone = type(model.backbone)("timm/levit_128s", "torch", (224, 224))
    model.head = nn.Linear(model.backbone.num_features, 3)


def nothing_folded(model: TransferClassifier) -> None:
    model.backbone = type(model.backbone)("timm/resnet10t", "torch", (32, 32), fold_batchnorm=False)
    other_head(model)


class Own(TransferClassifier):
    """Whose classifier is one of its own."""

    def classify(self, features: Tensor, uniforms: Tensor | None = None) -> Tensor:
        """Without dropout."""
        return self.head(features)  # type: ignore[no-any-return]


class OwnUpdate(TransferClassifier):
    """Which does something with every batch's metrics."""

    def _update(self, *args: Any) -> None:
        super()._update(*args)


def own_update(model: TransferClassifier) -> None:
    model.__class__ = OwnUpdate


def own_class(model: TransferClassifier) -> None:
    model.__class__ = Own


PLAIN = (
    watched_layer, watched_head, watched_backbone, watched_gradient, watched_backwards, layer_watched_backwards,
    further_metric, other_network, in_float16, own_head, own_method, own_class, own_update, kept_features,
    nothing_folded, kept_biases,
)  # fmt: skip


@pytest.mark.parametrize("change", PLAIN)
def test_what_others_look_at_or_have_changed_runs_as_it_is(
    change: Callable[[TransferClassifier], None], recordings: Recordings, model: TransferClassifier
) -> None:
    for _ in range(2):
        step(model)
    assert recordings.steps == 1
    change(model)
    for _ in range(3):
        assert "_Known" not in str(step(model).grad_fn)
    assert recordings.steps == 1


@pytest.mark.parametrize("odd", ["pixels", "labels", "index"])
def test_a_graph_that_computes_something_else_is_not_used(
    odd: str, recordings: Recordings, model: TransferClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that has kept a batch would."""
    place = ["pixels", "labels", "index"].index(odd)

    def capture(function: Callable[..., Any], inputs: Sequence[Tensor], *_: Any) -> Callable[..., Any]:
        graph, kept = recordings(function, inputs), [of.clone() for of in inputs]
        if len(inputs) < 4:  # no step
            return graph
        return lambda *given: graph(*given[:place], kept[place], *given[place + 1 :])

    monkeypatch.setattr(cuda_graph, "capture", capture)
    model.class_weights = torch.tensor([1.0, 2.0, 4.0])  # so that the other way round, labels weigh otherwise
    for number in range(3):
        assert "_Known" not in str(step(model, number).grad_fn)
    assert recordings.steps > 0
    assert not used(model)


def test_what_would_break_a_recording_off_is_found_before(
    recordings: Recordings, model: TransferClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By torch's warning, which is one of many that a backward pass may give."""
    grad, said, always = torch.autograd.grad, ["something else"], torch.is_warn_always_enabled()

    def warned(*args: Any) -> Any:
        for warning in said:
            warnings.warn(warning, stacklevel=1)
        return grad(*args)

    monkeypatch.setattr(torch.autograd, "grad", warned)
    for number in range(2):
        step(model, number)
    assert used(model) == 1
    said.append("The AccumulateGrad node's stream does not match the stream of the node that ...")
    model.set_phase(model.phase)
    for number in range(3):
        assert "_Known" not in str(step(model, number).grad_fn)
    assert not used(model)
    assert recordings.steps == 1
    assert torch.is_warn_always_enabled() == always


@pytest.mark.usefixtures("recordings")
def test_graphs_do_not_travel(model: TransferClassifier) -> None:
    for _ in range(2):
        step(model)
    assert used(model) == 1
    for other in (copy.deepcopy(model._step_graph), pickle.loads(pickle.dumps(model._step_graph))):
        assert not other._recorder._graphs
    model.set_phase(model.phase)
    assert not used(model)


def test_on_a_cpu_there_is_none(model: TransferClassifier) -> None:
    for _ in range(3):
        assert "_Known" not in str(step(model).grad_fn)
