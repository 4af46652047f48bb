"""The compiled backbone: the plain one's features, and the plain one wherever compiling does not work."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.utils import fresh_cache
from training import draw_images, make_data, make_model, make_trainer

from lightning_tl import InputError
from lightning_tl.backbone import Backbone
from lightning_tl.compiled import CompiledBackbone

SIZE = (32, 32)


def backbone(last: int = 0) -> Backbone:
    made = Backbone("timm/mobilenetv2_035", "torch", SIZE)
    made.unfreeze_last(last)
    return made


def images(count: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=generator)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch.compiler.reset()


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a graph was compiled; by dynamo's own debugging backend, which needs no C++ compiler."""
    made: list[int] = []
    original = torch.compile

    def count(graph: Any, inputs: Any) -> Any:
        made.append(len(inputs))
        return graph

    monkeypatch.setattr(torch, "compile", lambda model, **options: original(model, backend=count, **options))
    return made


def test_one_size_is_compiled_and_others_run_plainly(compilations: list[int]) -> None:
    plain = backbone()
    compiled = CompiledBackbone(plain)
    with torch.no_grad():
        for count in (2, 1, 2, 1):
            torch.testing.assert_close(compiled(images(count)), plain(images(count)))
        assert len(compilations) == 1
        compiled(images(3))
        compiled(images(2))
    assert len(compilations) == 2, "a larger batch is a full one"


def test_larger_batches_of_evaluation_leave_those_of_training_compiled(compilations: list[int]) -> None:
    compiled = CompiledBackbone(backbone())
    with torch.no_grad():  # as a frozen backbone is in training
        compiled(images(2))
    with torch.inference_mode():
        compiled(images(4))
    torch.compiler.reset()
    with torch.no_grad():
        compiled(images(2))
    assert len(compilations) == 3
    with torch.inference_mode():
        compiled(images(3))
    assert len(compilations) == 3, "nor is a smaller one of evaluation worth a compilation"


def test_it_is_a_part_of_what_others_compile(compilations: list[int]) -> None:
    plain = backbone()
    with torch.no_grad():
        whole = torch.compile(CompiledBackbone(plain).__call__, fullgraph=True)
        torch.testing.assert_close(whole(images()), plain(images()))
    assert len(compilations) == 1


def test_changed_weights_show_without_another_compilation(compilations: list[int]) -> None:
    """Also where they are folded into convolutions."""
    plain = backbone()
    compiled = CompiledBackbone(plain)
    with torch.no_grad():
        before = compiled(images())
        for module in plain.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.add_(0.5)  # type: ignore[union-attr, operator]
        after = compiled(images())
        torch.testing.assert_close(after, plain(images()))
    assert not torch.allclose(before, after)
    assert len(compilations) == 1


def test_gradients_are_the_plain_ones(compilations: list[int]) -> None:
    """In float64: in float32 they differ by the order of the sums, which Adam would make steps of."""
    plain = backbone(20).double()
    other = copy.deepcopy(plain)
    plain(images()).square().sum().backward()
    CompiledBackbone(other)(images()).square().sum().backward()
    for (name, ours), theirs in zip(other.named_parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-11, atol=1e-11)
    assert compilations


def test_without_a_compiler_one_warning_and_the_plain_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C++ compiler does not exist, and no earlier compilation is found."""
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))  # type: ignore[attr-defined]
    plain = backbone()
    compiled = CompiledBackbone(plain)
    with torch.no_grad(), fresh_cache():
        with pytest.warns(UserWarning, match="torch.compile failed, the run goes on without it"):
            first = compiled(images())
        assert torch.equal(first, plain(images()))
        assert torch.equal(compiled(images(seed=1)), plain(images(seed=1)))


def test_a_network_at_fault_is_no_matter_of_the_compiler() -> None:
    compiled = CompiledBackbone(backbone())
    with torch.no_grad(), pytest.raises(InputError, match=r"a batch of shape .* is needed. Received: .2, 5,"):
        compiled(torch.zeros(2, 5, *SIZE, dtype=torch.uint8).expand(2, 5, *SIZE))
    assert compiled.works


def test_it_travels_to_other_processes() -> None:
    compiled = CompiledBackbone(backbone())
    with torch.no_grad():
        twin = pickle.loads(pickle.dumps(compiled))
        assert torch.equal(twin.backbone(images()), compiled.backbone(images()))


def test_a_run_through_both_phases(tmp_path: Path, compilations: list[int]) -> None:
    """The same weights as without; graphs for training and evaluation in each phase."""
    data = make_data(draw_images(tmp_path / "images"), batch_size=4)
    weights = []
    for compile_it in (False, True):
        torch.manual_seed(0)
        model = make_model(data, compile=compile_it)
        make_trainer(tmp_path, precision="64-true").fit(model, data)
        weights.append(model.state_dict())
    assert len(compilations) >= 3
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-7, atol=1e-9, msg=name)
