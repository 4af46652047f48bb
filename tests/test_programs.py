"""Frozen blocks as programs of OpenVINO's: the same numbers, made again when the blocks change, and only for them."""

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_tl import openvino_program, programs
from lightning_tl.backbone import Backbone
from lightning_tl.batchnorm import hold_statistics
from lightning_tl.foldable import find_pairs
from lightning_tl.folding import fold_frozen
from lightning_tl.frozen_blocks import FrozenBlocks
from lightning_tl.openvino_program import Program

pytestmark = pytest.mark.skipif(not openvino_program.available(), reason="needs OpenVINO, the extra openvino")

SIZE = (64, 64)
BACKBONES = [
    ("torchvision/mobilenet_v2", "keras"),
    ("torchvision/mobilenet_v2", "torch"),
    ("timm/mobilenetv2_035", "keras"),
    ("timm/efficientnet_lite0", "torch"),
]
EPSILON = 5e-6
"""Relative to the largest feature: float32 in another order through 52 convolutions."""


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many modules each program has that was made."""
    found: list[int] = []

    class Noted(Program):
        def __init__(self, modules: Any, *rest: Any) -> None:
            super().__init__(modules, *rest)
            found.append(len(modules))

    monkeypatch.setattr(programs, "Program", Noted)
    return found


def images(count: int = 3) -> Tensor:
    return torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def two(name: str, convention: str = "keras") -> tuple[Backbone, Backbone]:
    """A backbone with OpenVINO, and the same without; moving statistics are those of no fresh network."""
    torch.manual_seed(0)
    mine, plain = (Backbone(name, convention, SIZE, openvino=on) for on in (True, False))  # type: ignore[arg-type]
    with torch.no_grad():
        for module in mine.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    plain.load_state_dict(mine.state_dict())
    return mine.requires_grad_(False), plain.requires_grad_(False)


def assert_near(got: Tensor, wanted: Tensor, epsilon: float = EPSILON) -> None:
    torch.testing.assert_close(got, wanted, rtol=0, atol=epsilon * float(wanted.abs().max()))


def outermost(backbone: Backbone) -> FrozenBlocks:
    return next(module for module in backbone.modules() if isinstance(module, FrozenBlocks))


@pytest.mark.parametrize(("name", "convention"), BACKBONES)
def test_features_are_those_without(name: str, convention: str, made: list[int]) -> None:
    mine, plain = two(name, convention)
    assert_near(mine(images()), plain(images()))
    assert made == [len(outermost(mine))]
    for count in (1, 5):  # other batches need no other program, and the same gives the same
        assert_near(mine(images(count)), plain(images(count)))
    assert torch.equal(mine(images()), mine(images()))
    assert len(made) == 1


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/mobilenetv2_035"])
@pytest.mark.parametrize("count", [1, 20, 23, 64, 150])
def test_gradients_are_those_without(name: str, count: int) -> None:
    """Wherever the boundary between what is frozen and what trains lies, also inside a block."""
    mine, plain = two(name)
    gradients = []
    for backbone in (mine, plain):
        names = backbone.unfreeze_last(count)
        parameters = [dict(backbone.named_parameters())[name] for name in names]
        features = backbone(images())
        gradients.append(torch.autograd.grad(features.square().sum(), parameters) if parameters else ())
    for got, wanted in zip(*gradients, strict=True):
        assert_near(got, wanted, 1e-4)


def test_a_phase_has_one_program_for_training_and_one_for_each_evaluation(made: list[int]) -> None:
    """Where nothing trains, one for both; what is evaluated is, to the bit, what a checkpoint of it computes."""
    mine, loaded = two("torchvision/mobilenet_v2")[0], Backbone("torchvision/mobilenet_v2", "keras", SIZE)
    mine(images())
    with torch.no_grad():
        mine(images())
    assert made == [19]
    mine.unfreeze_last(20)
    optimizer = torch.optim.SGD([p for p in mine.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        for _ in range(2):
            mine(images()).mean().backward()
            optimizer.step()
        loaded.load_state_dict(mine.state_dict())
        with torch.no_grad():
            assert torch.equal(mine(images()), mine(images()))
            assert torch.equal(mine(images()), loaded.requires_grad_(False)(images()))
    assert made == [19, 16, 19, 19, 19, 19]
    kept = outermost(mine).programs
    assert kept is not None
    assert [[key[:2] for key in of] for of in kept._made.values()] == [[(0, 16)], [(0, 19)]], "others only hold memory"


@torch.no_grad()
def test_changed_weights_make_another_program(made: list[int]) -> None:
    mine, plain = two("torchvision/mobilenet_v2")
    before = mine(images())
    changed = {name: value * 1.5 if "conv.2" in name else value for name, value in mine.state_dict().items()}
    for backbone in (mine, plain):
        backbone.load_state_dict(changed)
    assert_near(mine(images()), plain(images()))
    assert not torch.allclose(mine(images()), before)
    assert len(made) == 2


def test_the_number_of_threads_is_torchs(made: list[int]) -> None:
    mine, _ = two("timm/mobilenetv2_035")
    threads = torch.get_num_threads()
    wanted = mine(images())
    try:
        torch.set_num_threads(threads + 1)
        assert_near(mine(images()), wanted)
    finally:
        torch.set_num_threads(threads)
    assert len(made) == 2


@pytest.mark.parametrize("kind", ["float64", "bfloat16", "compiled"])
def test_what_a_program_cannot_do_is_done_without(kind: str, made: list[int]) -> None:
    mine, plain = two("timm/mobilenetv2_035")
    if kind == "float64":
        mine, plain = mine.double(), plain.double()
    mine.fold()  # which is not traced
    compute = torch.compile(mine, backend="eager") if kind == "compiled" else mine
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
        assert_near(compute(images()), plain(images()))
    assert made == []


def test_gradients_reach_the_pixels(made: list[int]) -> None:
    mine, plain = two("timm/mobilenetv2_035")
    pixels = images().float().requires_grad_()
    got, wanted = (torch.autograd.grad(backbone(pixels).sum(), pixels)[0] for backbone in (mine, plain))
    assert wanted.abs().max() > 0
    assert_near(got, wanted)
    assert made == []


def test_hooks_see_what_goes_through_their_layer(made: list[int]) -> None:
    mine, plain = two("timm/mobilenetv2_035")
    first: Any = outermost(mine)[0]
    seen: list[Tensor] = []
    first[0].register_forward_hook(lambda module, args, output: seen.append(output))
    assert_near(mine(images()), plain(images()))
    assert [len(output) for output in seen] == [3]
    assert made == [len(outermost(mine)) - 1]


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_makes_its_own(how: str, made: list[int]) -> None:
    mine, _ = two("timm/mobilenetv2_035")
    wanted = mine(images())
    other = copy.deepcopy(mine) if how == "deepcopy" else pickle.loads(pickle.dumps(mine))
    assert torch.equal(other(images()), wanted)
    assert len(made) == 2
    with torch.no_grad():
        next(other.net.blocks.parameters()).mul_(3)
    assert not torch.equal(other(images()), wanted)
    assert torch.equal(mine(images()), wanted)


def test_what_is_given_out_stays_what_it_is() -> None:
    """The next batch is not written over the last."""
    block = outermost(two("torchvision/mobilenet_v2")[0])
    first, second = torch.randn(2, 3, *SIZE), torch.randn(2, 3, *SIZE)
    fold_frozen([pair for child in block.blocks if child is not None for pair in child.pairs], gradients=False)
    one = block(first)
    kept = one.clone()
    block(second)
    assert torch.equal(one, kept)


class Scaled(nn.Module):
    """Blocks of convolutions with something in them that no program is written for."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.conv, self.norm, self.what = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), what

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        if self.what == "product":
            return y + 2.0 * x
        if self.what == "shape":
            return y + x if x.shape[0] else y
        return torch.add(y, x)


@pytest.mark.parametrize(("what", "count"), [("sum", 1), ("shape", 0), ("product", 0)])
def test_a_block_that_is_more_than_convolutions_and_additions_stays(what: str, count: int) -> None:
    net = nn.Sequential(Scaled(what), Scaled(what))
    hold_statistics(net)
    net.train(False).requires_grad_(False)
    pairs = find_pairs(net, net, (8, 8))
    x = torch.randn(2, 3, 8, 8)
    wanted = net(x)
    fold_frozen(pairs, gradients=False)
    found = programs.Programs()
    folded = tuple(pair.conv.folded for pair in pairs)
    for _ in range(2):
        program = found.find(0, list(net), folded, x, lambda image: net(image))
        assert (program is not None) == bool(count)
        if program is not None:
            torch.testing.assert_close(program(x), wanted)


def test_a_program_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, plain = two("timm/mobilenetv2_035")
    monkeypatch.setattr(openvino_program, "CEILING", 0.5)
    assert_near(mine(images()), plain(images()))
    assert [made.program for made in outermost(mine).programs._made[True].values()] == [None]  # type: ignore[union-attr]


def test_openvino_that_fails_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, plain = two("timm/mobilenetv2_035")
    programs._tell.cache_clear()
    monkeypatch.setitem(openvino_program.SETTINGS, "INFERENCE_PRECISION_HINT", "f17")
    with pytest.warns(UserWarning, match="openvino: not used, since it failed: .* Set model.openvino to false") as told:
        got = mine(images())
    assert_near(got, plain(images()))
    assert torch.equal(mine(images()), got)
    assert len([warning for warning in told if "openvino" in str(warning.message)]) == 1


def test_nothing_is_asked_of_openvino_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, made: list[int]
) -> None:
    monkeypatch.setattr("lightning_tl.frozen_blocks.available", lambda: False)
    mine, plain = two("timm/mobilenetv2_035")
    assert torch.equal(mine(images()), plain(images()))
    assert made == []


def test_openvino_tells_nobody_that_it_is_used() -> None:
    """Imported in the plain way it sends a message to its makers, and writes a folder into the user's home."""
    run = (
        "import sys, torch; from lightning_tl.backbone import Backbone; "
        "Backbone('timm/mobilenetv2_035', 'torch', (32, 32)).requires_grad_(False)(torch.zeros(1, 3, 32, 32)); "
        "assert 'openvino' in sys.modules; found = [name for name in sys.modules if 'openvino_telemetry' in name]; "
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


SIGNALS = """
import faulthandler, gc, signal, subprocess
import torch
from lightning_tl.backbone import Backbone
faulthandler.enable()  # gives the process a stack for signals, as pytest does
arrived = []
signal.signal(signal.SIGCHLD, lambda *_: arrived.append(1))
images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
for _ in range(3):
    backbones = [Backbone("timm/mobilenetv2_035", "torch", (32, 32)).requires_grad_(False) for _ in range(2)]
    for backbone in backbones:
        backbone(images)
    del backbone, backbones[0], backbones
    gc.collect()
    subprocess.run(["true"], check=True)
assert arrived
"""


def test_signals_arrive_after_programs_have_gone() -> None:
    """Each core of OpenVINO's that goes would leave the process with a stack for signals that is no more."""
    done = subprocess.run([sys.executable, "-c", SIGNALS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
