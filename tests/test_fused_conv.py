"""Triton's kernels compute convolution, bias and ReLU6, by its interpreter on a CPU; and none where they cannot."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import lightning_tl
from lightning_tl import frozen_blocks, fused_conv
from lightning_tl.backbone import Backbone

pytest.importorskip("triton", reason="this torch came without Triton")
needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
everywhere = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
EPSILON = {torch.float32: 5e-6, torch.bfloat16: 2**-7, torch.float16: 2**-10}
"""Of the largest value: bits of the type, and float32 sums of 216 products lose some in any order."""
SIDES = {"none": (0, 0, 0, 0), "even": (1, 1, 1, 1), "odd": (0, 1, 0, 1), "other": (2, 0, 1, 3)}
CONVOLUTIONS = [
    (24, 1, 1, 1, 1), (24, 24, 3, 1, 1), (96, 96, 3, 2, 1), (24, 24, 5, 2, 1), (24, 24, 3, 1, 2), (24, 4, 3, 2, 1),
]  # fmt: skip
"""Channels, groups, and pixels of kernel, stride and dilation."""
KERNELS = "lightning_tl.triton_kernels"


@pytest.fixture
def kernels(device: str, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the kernels as they are interpreted, on a GPU as they are compiled."""
    if device == "cpu":
        monkeypatch.setitem(sys.modules, KERNELS, interpreted)
        monkeypatch.setattr(lightning_tl, "triton_kernels", interpreted, raising=False)
        monkeypatch.setattr(fused_conv, "works_on", lambda device, dtype: True)
        monkeypatch.setattr(frozen_blocks.Block, "computes_in", lambda self, x: None)  # a CPU's other way
        offered = fused_conv.offered
        monkeypatch.setattr(fused_conv, "offered", lambda x, weight: offered(_OnCuda(x), _OnCuda(weight)))  # type: ignore[arg-type]
        no_memory = fused_conv._is_no_memory
        monkeypatch.setattr(fused_conv, "_is_no_memory", lambda one: no_memory(one._tensor))
    else:
        assert all(fused_conv.works_on(torch.device("cuda", 0), dtype) for dtype in fused_conv.TYPES)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 as it is on a CPU: torch lets convolutions on a GPU round to TF32's ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def interpreted() -> ModuleType:
    """The kernels as Triton's interpreter runs them; nobody else gets them."""
    before = sys.modules.pop(KERNELS, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")  # asked when a kernel is defined
        interpreted = importlib.import_module(KERNELS)
    del sys.modules[KERNELS], lightning_tl.triton_kernels  # type: ignore[attr-defined]
    if before is not None:
        sys.modules[KERNELS] = lightning_tl.triton_kernels = before  # type: ignore[attr-defined]
    return interpreted


class _OnCuda:
    """A tensor that says of itself that it is on a GPU."""

    is_cuda = True

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensor, name)


def operands(device: str, dtype: torch.dtype, channels: int, groups: int, kernel: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, channels, 9, 7, generator=generator) * 4
    weight = torch.randn(channels, channels // groups, kernel, kernel, generator=generator)
    bias = torch.randn(channels, generator=generator)
    image = image.to(device, dtype, memory_format=torch.channels_last)
    return image, weight.to(device, dtype), bias.to(device)


@everywhere
@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.usefixtures("kernels", "exact")
def test_values(device: str, dtype: torch.dtype, sides: str) -> None:
    """Of one pixel, depthwise, grouped, and what the kernels leave to torch: kernels with gaps."""
    for channels, groups, kernel, stride, dilation in CONVOLUTIONS:
        for rectified in (True, False):
            check_values(device, dtype, channels, groups, kernel, stride, dilation, sides, rectified)


def check_values(
    device: str,
    dtype: torch.dtype,
    channels: int,
    groups: int,
    kernel: int,
    stride: int,
    dilation: int,
    sides: str,
    rectified: bool,
) -> None:
    image, weight, bias = operands(device, dtype, channels, groups, kernel)
    steps, gaps = (stride, stride), (dilation, dilation)
    got = fused_conv.conv2d(image, weight, bias, steps, SIDES[sides], gaps, groups, rectified)
    padded = F.pad(image.double(), SIDES[sides])
    wanted = F.conv2d(padded, weight.double(), bias.double(), steps, 0, gaps, groups)
    size = float(wanted.abs().max())
    if rectified:
        wanted = F.relu6(wanted)
        assert 0 < float((wanted == 6).float().mean()) < 1  # clipped here and not there
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=size * EPSILON[dtype])


@everywhere
@pytest.mark.usefixtures("kernels")
def test_uneven_strides_and_kernels(device: str) -> None:
    image, _, bias = operands(device, torch.float32, 24, 24, 3)
    weight = torch.randn(24, 1, 5, 3, generator=torch.Generator().manual_seed(1)).to(device)
    got = fused_conv.conv2d(image, weight, bias, (1, 2), (1, 0, 2, 1), (1, 1), 24, rectified=False)
    wanted = F.conv2d(F.pad(image.double(), (1, 0, 2, 1)), weight.double(), bias.double(), (1, 2), groups=24)
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-4)


@everywhere
@pytest.mark.parametrize("groups", [1, 24])
@pytest.mark.usefixtures("kernels")
def test_nan_is_not_clipped(groups: int, device: str) -> None:
    """As torch's ReLU6 on a GPU: a run whose weights are no numbers any more is to show it."""
    image, weight, bias = operands(device, torch.float32, 24, groups, 1)
    bias[3] = float("nan")
    got = fused_conv.conv2d(image, weight, bias, (1, 1), (0, 0, 0, 0), (1, 1), groups, rectified=True)
    assert bool(got[:, 3].isnan().all())
    assert not bool(got[:, 4].isnan().any())


@pytest.mark.parametrize(
    ("convention", "device"),
    [("keras", "cpu"), *(pytest.param(name, "cuda", marks=needs_gpu) for name in ("keras", "torch"))],
)
@pytest.mark.usefixtures("kernels", "exact")
def test_a_network_is_what_it_was(convention: Any, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = Backbone("timm/mobilenetv2_035", convention, (32, 32)).requires_grad_(False).to(device)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255
    images = images.to(device, memory_format=torch.channels_last)
    calls: list[bool] = []
    conv2d = fused_conv.conv2d
    monkeypatch.setattr(fused_conv, "conv2d", lambda *given: calls.append(given[-1]) or conv2d(*given))  # type: ignore[func-returns-value]
    with torch.no_grad():
        got = net(images)
        assert (calls.count(True), calls.count(False)) == (35, 17)  # all that MobileNetV2 has
        monkeypatch.setattr(fused_conv, "offered", lambda x, weight: False)
        wanted = net(images)
        assert len(calls) == 52
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


@everywhere
@pytest.mark.usefixtures("kernels", "exact")
def test_gradients_take_the_other_path(device: str) -> None:
    """To images, as Grad-CAM and saliency maps ask for them."""
    image, weight, _ = operands(device, torch.float32, 24, 24, 3)
    assert fused_conv.offered(image, weight)
    assert not fused_conv.offered(image.requires_grad_(), weight)
    with torch.no_grad():
        assert fused_conv.offered(image, weight)
    assert not fused_conv.offered(image.detach(), weight.requires_grad_())


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("_add_bias", {"RECTIFIED": True, "PIXELS": 16, "CHANNELS": 64}),
        (
            "_depthwise",
            {
                "DOWN": 3,
                "ACROSS": 3,
                "STRIDE_DOWN": 2,
                "STRIDE_ACROSS": 2,
                "RECTIFIED": True,
                "PIXELS": 16,
                "CHANNELS": 64,
            },
        ),
    ],
)
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_they_compile_for_a_gpu(
    name: str, constants: dict[str, Any], dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which needs none; the interpreter takes more of Python than the compiler does."""
    from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped]
    from triton.compiler import ASTSource, compile  # type: ignore[import-untyped]

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(importlib.import_module(KERNELS), name)
    pointers = {"feature_map": f"*{dtype}", "taps": f"*{dtype}", "output": f"*{dtype}", "bias": "*fp32"}
    signature = {one: "constexpr" if one in constants else pointers.get(one, "i32") for one in kernel.arg_names}
    compiled = compile(
        ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": True}
    )
    assert "st.global" in compiled.asm["ptx"]
    assert compiled.asm["cubin"]


@pytest.mark.parametrize("device", ["cpu"])
@pytest.mark.usefixtures("kernels")
def test_only_what_the_kernels_can_is_theirs(device: str) -> None:
    """Memory in the layout that they read, of types that add up in float32; nobody who looks at operations."""
    image, weight, _ = operands(device, torch.float32, 24, 24, 3)
    assert fused_conv.offered(image, weight)
    assert fused_conv.offered(image, fused_conv.channels_last(weight))
    assert not fused_conv.offered(image.contiguous(), weight)
    assert not fused_conv.offered(image.double(), weight.double())
    assert not fused_conv.offered(image[0], weight)
    assert not fused_conv.offered(image[:0], weight)
    with FlopCounterMode(display=False):
        assert not fused_conv.offered(image, weight)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(image), mode.from_tensor(weight)
    assert not fused_conv.offered(*fake)


def test_nothing_is_offered_on_a_cpu() -> None:
    image, weight, _ = operands("cpu", torch.float32, 24, 24, 3)
    assert not fused_conv.offered(image, weight)
    assert fused_conv.arranged(weight, 24) is weight


@everywhere
@pytest.mark.usefixtures("kernels", "exact")
def test_some_channels_of_an_image(device: str) -> None:
    """Whose strides look like channels last to ``Tensor.to``."""
    image, weight, bias = operands(device, torch.float32, 48, 48, 3)
    some, weight, bias = image[:, :24], weight[:24], bias[:24]
    got = fused_conv.conv2d(some, weight, bias, (1, 1), (1, 1, 1, 1), (1, 1), 24, rectified=False)
    torch.testing.assert_close(got, F.conv2d(some, weight, bias, padding=1, groups=24), rtol=0, atol=1e-4)


@everywhere
@pytest.mark.usefixtures("kernels")
def test_an_image_below_its_kernel_is_refused_as_by_torch(device: str) -> None:
    image, weight, bias = operands(device, torch.float32, 24, 24, 3)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        fused_conv.conv2d(image[:, :, :2, :2], weight, bias, (1, 1), (0, 0, 0, 0), (1, 1), 24, rectified=True)


@pytest.mark.parametrize("groups", [1, 24])
@pytest.mark.parametrize("device", ["cpu"])
@pytest.mark.usefixtures("kernels")
def test_kernels_start_where_the_image_is(
    groups: int, device: str, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton starts them on torch's current device, which may be another GPU."""
    image, weight, bias = operands(device, torch.float32, 24, groups, 3)
    now: list[Tensor] = []
    started: list[bool] = []

    @contextmanager
    def device_of(tensor: Tensor) -> Iterator[None]:
        now.append(tensor)
        yield
        now.pop()

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    for name in ("depthwise", "add_bias_"):
        monkeypatch.setattr(interpreted, name, lambda x, *_, **__: started.append(bool(now)) or x)  # type: ignore[func-returns-value]
    fused_conv.conv2d(image, weight, bias, (1, 1), (1, 1, 1, 1), (1, 1), groups, rectified=False)
    assert started == [True]


@pytest.mark.parametrize("device", ["cpu"])
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("rectified", [True, False])
def test_a_kernel_that_fails_later_leaves_it_to_torch(
    rectified: bool, device: str, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is compiled when it is first needed, and kept on a disk that may be full by then."""
    monkeypatch.setattr(fused_conv, "_works", {})

    def fails(*_: Any, **__: Any) -> Tensor:
        raise OSError("No space left on device")

    monkeypatch.setattr(interpreted, "add_bias_", fails)
    image, weight, bias = operands(device, torch.bfloat16, 24, 1, 3)
    with pytest.warns(UserWarning, match="for bfloat16 .OSError: No space left on device"):
        got = fused_conv.conv2d(image, weight, bias, (2, 2), (0, 1, 0, 1), (1, 1), 1, rectified)
    wanted = F.conv2d(F.pad(image, (0, 1, 0, 1)), weight, bias.bfloat16(), 2)
    assert torch.equal(got, F.relu6(wanted) if rectified else wanted)
    assert fused_conv._works == {(torch.device("cpu"), torch.bfloat16): False}


@pytest.fixture
def asked_here(interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they work can be asked of a CPU, for the first time."""
    monkeypatch.setitem(sys.modules, KERNELS, interpreted)
    monkeypatch.setattr(lightning_tl, "triton_kernels", interpreted, raising=False)
    monkeypatch.setattr(fused_conv, "waiting", nullcontext)
    monkeypatch.setattr(fused_conv, "_works", {})


HERE = torch.device("cpu")


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.usefixtures("asked_here")
def test_they_are_asked_whether_they_work(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fused_conv.works_on(HERE, dtype)
    monkeypatch.setattr(fused_conv, "_difference", None)
    assert fused_conv.works_on(HERE, dtype)  # once


def _turned(kernels: ModuleType) -> Any:
    depthwise = kernels.depthwise
    return lambda x, weight, bias, stride, sides, rectified: depthwise(
        x, weight, bias, stride, (sides[1], sides[0], *sides[2:]), rectified
    )


def _other_bias(kernels: ModuleType) -> Any:
    add_bias_ = kernels.add_bias_
    return lambda x, bias, rectified: add_bias_(x, bias * 0.97, rectified)


def _unclipped(kernels: ModuleType) -> Any:
    add_bias_ = kernels.add_bias_
    return lambda x, bias, rectified: add_bias_(x, bias, False)


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize(
    ("name", "wrong"), [("depthwise", _turned), ("add_bias_", _other_bias), ("add_bias_", _unclipped)]
)
@pytest.mark.usefixtures("asked_here")
def test_those_whose_results_are_others_do_not_work(
    name: str, wrong: Any, dtype: torch.dtype, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreted, name, wrong(interpreted))
    with pytest.warns(UserWarning, match="its results are [0-9.]+ off"):
        assert not fused_conv.works_on(HERE, dtype)


def test_where_triton_does_not_work_a_warning_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler, or without Triton, all is computed by torch."""

    def fails(device: torch.device, dtype: torch.dtype) -> float:
        raise ImportError("No module named 'triton'")

    monkeypatch.setattr(fused_conv, "_difference", fails)
    monkeypatch.setattr(fused_conv, "_works", {})
    with pytest.warns(UserWarning, match="for float32 .ImportError: No module named 'triton'") as told:
        assert not any(fused_conv.works_on(HERE, torch.float32) for _ in range(2))
    assert len(told) == 1


def test_a_gpu_that_is_full_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(device: torch.device, dtype: torch.dtype) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(fused_conv, "_difference", fails)
    monkeypatch.setattr(fused_conv, "_works", {})
    assert not fused_conv.works_on(HERE, torch.float32)
    monkeypatch.setattr(fused_conv, "_difference", lambda device, dtype: 0.0)
    assert fused_conv.works_on(HERE, torch.float32)
