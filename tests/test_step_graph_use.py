"""When a training step is recorded, when anew, and when it runs as it is."""

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded import Recordings, batch, record, small_model, step, used
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAUROC

from benchmarks.runners import transfer
from lightning_tl import TransferClassifier, cuda_graph, step_graph
from lightning_tl.stage_metrics import StageMetrics


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    return record(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> TransferClassifier:
    return small_model(tmp_path / "images")


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


def test_on_a_cpu_there_is_none(model: TransferClassifier) -> None:
    for _ in range(3):
        assert "_Known" not in str(step(model).grad_fn)


@pytest.mark.parametrize("switch", ["steps_apart", "unrecorded"])
def test_the_benchmark_switches_it_off(
    switch: str, recordings: Recordings, model: TransferClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    for of, name in ((step_graph, "offered"), (cuda_graph.GraphRecorder, "__call__")):
        monkeypatch.setattr(of, name, getattr(of, name))  # put back in the end
    transfer.switch({switch: True})
    for _ in range(3):
        assert "_Known" not in str(step(model).grad_fn)
    assert recordings.steps == 0
