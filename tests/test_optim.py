"""Adam in Keras' form, and optimizers by class path."""

import math
from typing import Any

import pytest
import torch

from lightning_tl.errors import InputError
from lightning_tl.optim import KerasAdam, build_optimizer


def reference(gradients: list[torch.Tensor], lr: float, eps: float = 1e-7) -> torch.Tensor:
    """Kingma and Ba's section 2 form: epsilon-hat added to the uncorrected root."""
    value = torch.zeros_like(gradients[0])
    m, v = torch.zeros_like(value), torch.zeros_like(value)
    for t, gradient in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        value = value - lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (v.sqrt() + eps)
    return value


def run(optimizer_class: type[torch.optim.Optimizer], gradients: list[torch.Tensor], **options: object) -> torch.Tensor:
    parameter = torch.nn.Parameter(torch.zeros_like(gradients[0]))
    optimizer = optimizer_class([parameter], lr=1e-3, **options)  # type: ignore[call-arg, arg-type]
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"foreach": False}, {"fused": True}], ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-9])
def test_hundred_steps_equal_the_formula(options: dict[str, bool], scale: float) -> None:
    torch.manual_seed(0)
    gradients = [scale * torch.randn(64, dtype=torch.float64) for _ in range(100)]
    # float64 rounding over 100 steps
    torch.testing.assert_close(run(KerasAdam, gradients, **options), reference(gradients, 1e-3), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("beside_another", [False, True])
def test_hooks_of_a_step_are_called_once(beside_another: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls come around a class's step when torch makes the first optimizer of that class."""
    step: Any = torch.optim.Adam.step  # of a process that has made none, whatever other tests have
    monkeypatch.setattr(torch.optim.Adam, "step", step.__wrapped__ if hasattr(step, "hooked") else step)
    parameter, calls = torch.nn.Parameter(torch.zeros(1)), []
    if beside_another:
        torch.optim.Adam([parameter])
    optimizer = KerasAdam([parameter])
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert calls == ["before", "after"]
    torch.testing.assert_close(parameter.detach(), torch.tensor([-1e-3]))


@pytest.mark.parametrize(
    ("options", "fused"),
    [
        ({}, True),
        ({"weight_decay": 0.1}, True),
        ({"foreach": False}, None),
        ({"fused": False}, False),
        ({"differentiable": True}, None),
        ({"lr": torch.tensor(1e-3)}, None),
    ],
    ids=str,
)
def test_on_a_cpu_a_step_is_one_pass_unless_told_otherwise(options: dict[str, Any], fused: bool | None) -> None:
    optimizer = KerasAdam([torch.nn.Parameter(torch.zeros(3))], **options)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))]})
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))]})
    assert [group["fused"] for group in optimizer.param_groups] == [fused, fused, None if fused else fused]


def test_the_state_of_a_step_in_several_passes_is_taken_up() -> None:
    """Of a checkpoint written before."""
    torch.manual_seed(0)
    gradients = [torch.randn(8, dtype=torch.float64) for _ in range(20)]
    parameter = torch.nn.Parameter(torch.zeros(8, dtype=torch.float64))
    optimizer = KerasAdam([parameter])
    optimizer.param_groups[0]["fused"] = None
    for step, gradient in enumerate(gradients):
        if step == 10:
            fresh = KerasAdam([parameter])
            fresh.load_state_dict(optimizer.state_dict())
            optimizer = fresh
            assert optimizer.param_groups[0]["fused"]
        parameter.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(parameter.detach(), reference(gradients, 1e-3), rtol=1e-12, atol=1e-16)


def test_moments_of_another_memory_layout_are_taken_up() -> None:
    """Of a run with channels last, by one without."""
    torch.manual_seed(0)
    gradients = [torch.randn(4, 3, 2, 2, dtype=torch.float64) for _ in range(20)]
    last, first = (
        torch.nn.Parameter(torch.zeros(4, 3, 2, 2, dtype=torch.float64).contiguous(memory_format=layout))
        for layout in (torch.channels_last, torch.contiguous_format)
    )
    optimizer, parameter = KerasAdam([last]), last
    for step, gradient in enumerate(gradients):
        if step == 10:
            saved, parameter = optimizer.state_dict(), first
            first.data.copy_(last)
            optimizer = KerasAdam([parameter])
            optimizer.load_state_dict(saved)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
        optimizer.step()
    torch.testing.assert_close(parameter.detach(), reference(gradients, 1e-3), rtol=1e-12, atol=1e-16)


def test_torch_adam_is_another_optimizer_where_gradients_are_small() -> None:
    torch.manual_seed(0)
    gradients = [1e-7 * torch.randn(64, dtype=torch.float64) for _ in range(20)]
    difference = (run(torch.optim.Adam, gradients) - reference(gradients, 1e-3)).abs().max()
    assert difference > 1e-2 * reference(gradients, 1e-3).abs().max()


def test_state_restores_the_step_count_and_epsilon() -> None:
    torch.manual_seed(0)
    gradients = [1e-7 * torch.randn(8, dtype=torch.float64) for _ in range(20)]
    parameter = torch.nn.Parameter(torch.zeros(8, dtype=torch.float64))
    optimizer = KerasAdam([parameter])
    for step, gradient in enumerate(gradients):
        if step == 10:
            fresh = KerasAdam([parameter])
            fresh.load_state_dict(optimizer.state_dict())
            optimizer = fresh
        parameter.grad = gradient.clone()
        optimizer.step()
    assert torch.equal(parameter.detach(), run(KerasAdam, gradients))


def test_closure_and_added_groups_count_their_own_steps() -> None:
    first, second = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = KerasAdam([first])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (first**2 + second**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).detach() == 2.0
    optimizer.add_param_group({"params": [second]})
    optimizer.step(closure)
    assert [group["steps"] for group in optimizer.param_groups] == [2, 1]


def test_any_optimizer_by_class_path() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    spec = {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}
    optimizer = build_optimizer(spec, [parameter], 0.5)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["lr"] == 0.5
    assert optimizer.defaults["momentum"] == 0.9


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torch.optim.Adum", "no optimizer at this class path.*Received: torch.optim.Adum"),
        ("Adam", "no optimizer at this class path"),
        ("torch.nn.Linear", "not a subclass of torch.optim.Optimizer"),
        ({"class_path": "torch.optim.SGD", "init_args": {"momentun": 0.9}}, "does not take these init_args"),
        ({"class_path": "torch.optim.SGD", "init_args": {"lr": 0.9}}, "belongs to the phase's lr"),
        ({"name": "torch.optim.SGD"}, "class_path and init_args"),
        (3, "class_path and init_args. Received: 3"),
        ({"class_path": "torch.optim.SGD", "init_args": 3}, "init_args is a mapping of arguments. Received: 3"),
        ({"class_path": "torch.optim.Adam", "init_args": {"betas": [0.9]}}, "does not take these init_args"),
        ({"class_path": "lightning_tl.optim.KerasAdam", "init_args": {"betas": [0.9, 0.99, 0.999]}}, "and not 3"),
        ({"class_path": "torch.optim.Adam", "init_args": {"fused": True, "foreach": True}}, "does not take these"),
    ],
)
def test_optimizers_that_cannot_be_built(spec: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_optimizer(spec, [torch.nn.Parameter(torch.zeros(1))], 0.1, "phases: head")  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["lightning_tl.optim.KerasAdam", "torch.optim.AdamW", "torch.optim.SGD"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_counts_as_a_write(path: str, fused: bool) -> None:
    """Folded weights go by it; torch's fused kernels do not count."""
    given, left = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = build_optimizer({"class_path": path, "init_args": {"fused": fused}}, [given, left], 0.1)
    for _ in range(2):
        before = given._version, left._version
        given.grad = torch.ones(3)
        optimizer.step()
        assert given._version > before[0]
        assert left._version == before[1]
