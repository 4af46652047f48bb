"""Tools that look at a network's operations see those of the weights that it has, whatever was folded before."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from lightning_tl import Phase, TransferClassifier
from lightning_tl.backbone import Backbone
from lightning_tl.plainly import is_looked_into, up_to_date
from parity_tests.weights import lived_in

NAME, SIZE = "timm/mobilenetv2_035", (64, 64)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
BATCHES = {"small": 2, "worth a graph": 16}


def classifier(**options: Any) -> TransferClassifier:
    """Pretrained, as far as this test goes."""
    defaults: dict[str, Any] = {"backbone": NAME, "weights": str(lived_in(0.35)), "image_size": SIZE}
    return TransferClassifier(["a", "b"], **{**defaults, **options}).eval()


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(0)) * 255


def scripted(model: TransferClassifier, x: Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch and Lightning about TorchScript's age
        return model.to_torchscript(method="trace", example_inputs=x)


TOOLS: dict[str, Callable[[TransferClassifier, Tensor], Any]] = {
    "torch.compile": lambda model, x: torch.compile(model, backend="eager"),
    "torch.export": lambda model, x: torch.export.export(model, (x,)).module(),
    "TorchScript": scripted,
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("before", ["fresh", "evaluated and then written to"])
def test_what_is_compiled_or_exported_has_the_weights_of_now(tool: str, before: str) -> None:
    model, x = classifier(), images()
    if before != "fresh":
        with torch.no_grad():
            model(x)  # folds
            for parameter in model.backbone.parameters():
                parameter.mul_(1.01)
    plain = classifier(fold_batchnorm=False)
    plain.load_state_dict(model.state_dict())
    torch.compiler.reset()
    with torch.no_grad():
        torch.testing.assert_close(TOOLS[tool](model, x)(x), plain(x), **CLOSE)


def test_a_loop_through_torch_compile_trains_what_its_phase_says() -> None:
    model = classifier()
    model.set_phase(Phase(name="finetune", epochs=1, lr=1e-3, unfreeze_last=20))
    torch.compiler.reset()
    torch.compile(model.train(), backend="eager")(images()).square().sum().backward()
    wanted = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(wanted) == 23
    assert [name for name, parameter in model.named_parameters() if parameter.grad is not None] == wanted


@pytest.mark.parametrize("count", BATCHES.values(), ids=list(BATCHES))
def test_functional_gradients_are_those_of_autograd(count: int) -> None:
    model, x = classifier().requires_grad_(True), images(count)
    parameters = dict(model.named_parameters())
    found = torch.func.grad(lambda p: torch.func.functional_call(model, p, (x,)).square().sum())(parameters)
    model(x).square().sum().backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        error = (found[name] - parameter.grad).norm() / parameter.grad.norm().clamp_min(1e-3)
        assert error < 1e-3, name


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")  # which torch's forward mode uses
def test_vmap_and_both_forward_modes_see_the_network() -> None:
    model, x = classifier(), images(16)
    with torch.no_grad():
        each = torch.func.vmap(lambda image: model(image[None])[0])(x)
        torch.testing.assert_close(each, model(x), **CLOSE)
    plain = classifier(fold_batchnorm=False)
    direction = torch.ones_like(x)
    _, expected = torch.func.jvp(plain, (x,), (direction,))
    _, found = torch.func.jvp(model, (x,), (direction,))
    torch.testing.assert_close(found, expected, **CLOSE)
    with forward_ad.dual_level(), torch.no_grad():
        tangent = forward_ad.unpack_dual(model(forward_ad.make_dual(x, direction))).tangent
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(tangent, expected, **CLOSE)


def test_a_tensor_in_the_place_of_another_is_another_wherever_it_lies() -> None:
    """Memory, and the identity of an object, are given out again as soon as nobody holds what had them."""
    backbone, x = Backbone("timm/mobilenetv2_035", "torch", SIZE), images()
    conv: Any = backbone.net.conv_stem
    shape, stale = conv.weight.shape, 0
    with torch.no_grad():
        for round_ in range(40):
            conv.weight = nn.Parameter(torch.full(shape, 0.01 * round_))
            backbone(x)
            conv.weight = nn.Parameter(torch.full(shape, 0.5))
            conv.weight = nn.Parameter(torch.full(shape, 1.0 + round_))
            found = backbone(x)
            backbone.forget()
            stale += not torch.equal(found, backbone(x))
    assert stale == 0


def test_a_network_that_was_called_with_others_tensors_can_be_copied() -> None:
    backbone, x = Backbone("timm/mobilenetv2_035", "torch", SIZE), images()
    others = {name: parameter * 1.0 for name, parameter in backbone.named_parameters()}
    torch.func.functional_call(backbone, others, (x,))
    with torch.no_grad():
        torch.testing.assert_close(deepcopy(backbone)(x), backbone(x))


@pytest.mark.parametrize("before", ["fresh", "evaluated", "trained", "copied", "copied and put back"])
def test_the_network_by_itself_has_the_weights_of_now(before: str) -> None:
    """Whoever takes it out of the backbone, which alone knows whether what is folded is of them."""
    model, plain = classifier(), classifier(fold_batchnorm=False)
    x = torch.rand(16, 3, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    if before == "trained":
        model.set_phase(Phase(name="finetune", epochs=1, lr=1e-3, unfreeze_last=20))
        model(images()).sum().backward()
    elif before != "fresh":
        with torch.no_grad():
            model(images(16))
    net: Any = deepcopy(model.backbone.net) if "copied" in before else model.backbone.net
    if before == "copied and put back":
        model.backbone.net = net
    theirs: Any = plain.backbone.net
    for network in (net, theirs):
        network.requires_grad_(True)
        network.zero_grad()
        with torch.no_grad():
            network.conv_stem.weight.mul_(2)
        network.forward_features(x).square().sum().backward()
    for name, parameter in net.named_parameters():
        expected = theirs.get_parameter(name).grad
        assert expected is not None
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    with torch.no_grad():
        assert torch.equal(net.forward_features(x), theirs.forward_features(x))
        if before == "copied and put back":
            torch.testing.assert_close(model(images(16)), plain(images(16)), **CLOSE)


def test_checkpointed_layers_are_computed_once_more_as_they_were() -> None:
    model, x = classifier(), images()
    model.set_phase(Phase(name="finetune", epochs=1, lr=1e-3, unfreeze_last=20))
    model(x).square().sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    model.backbone.net.set_grad_checkpointing(True)  # type: ignore[operator]
    model(x).square().sum().backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(model.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-5)


def test_operations_are_counted_as_the_network_has_them() -> None:
    model, plain, x = classifier(), classifier(fold_batchnorm=False), images(16)
    counts = []
    for each in (model, plain):
        with torch.no_grad():
            each(x)
            with FlopCounterMode(display=False) as counter:
                each(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 1e8


def test_two_threads_leave_the_process_as_it_was() -> None:
    """However their calls of compiled code overlap."""
    order: list[str] = []
    wait = Event()

    def call(name: str) -> None:
        with up_to_date():
            order.append(f"{name} in")
            wait.wait(0.2)
            order.append(f"{name} out")

    threads = [Thread(target=call, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [line[2:] for line in order] == ["in", "out"] * 2
    with torch.no_grad():
        assert not is_looked_into()
    torch.compiler.reset()
    assert torch.compile(lambda x: x + int(is_looked_into()), backend="eager")(torch.zeros(1)) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("convention", ["torch", "keras"])
def test_a_network_can_be_built_in_another_type(dtype: torch.dtype, convention: Any) -> None:
    torch.set_default_dtype(dtype)
    try:
        backbone = Backbone(NAME, convention, SIZE)
        assert backbone(images()).dtype == dtype
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_function_visits_every_module_as_torch_has_it(tmp_path: Path) -> None:
    model = classifier(augment=[{"class_path": "RandomFlip"}])
    seen: list[nn.Module] = []
    assert model.apply(seen.append) is model
    assert {id(module) for module in seen} == {id(module) for module in model.modules()}
    assert len(seen) == len(list(model.modules()))
