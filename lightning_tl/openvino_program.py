"""Folded convolutions, and the additions between them, as one program of OpenVINO's for the CPU, where it is installed.

OpenVINO knows the whole program before it runs: it lays the weights out once, and keeps a feature map where the next
convolution reads it. What that is worth stands in docs/benchmark.md.
"""

import operator
import sys
from collections.abc import Sequence
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any

import torch
from torch import Tensor, fx, nn

from lightning_tl.folding import Folded, FoldingConv2d, FoldingSameConv2d
from lightning_tl.padding import SameConv2d
from lightning_tl.relu6 import CEILING

ADDITIONS = (operator.add, operator.iadd, torch.add)
SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",  # else OpenVINO takes bfloat16 where the processor has it
    "EXECUTION_MODE_HINT": "ACCURACY",
    "PERFORMANCE_HINT": "LATENCY",  # all threads at one batch
    "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same cores
}
"""Of ``openvino.Core.compile_model``."""


class UnsupportedError(Exception):
    """A module does what no program is written for."""


@cache
def available() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


@cache
def _openvino() -> Any:
    """The package, imported when it is first needed (half a second), without what would tell its makers of that."""
    hidden = "openvino_telemetry"  # OpenVINO does without it where it is not installed
    if hidden in sys.modules:
        return import_module("openvino")
    sys.modules[hidden] = None  # type: ignore[assignment]  # which makes importing it fail
    try:
        return import_module("openvino")
    finally:
        del sys.modules[hidden]


@cache  # for good: each gives the process another stack for signals, and takes it away, used or not, when it goes
def _core() -> Any:
    return _openvino().Core()


class Program:
    """Modules in one program, for feature maps of one size and batches of any; float32.

    Args:
        modules: called one after the other; their convolutions are folded.
        shape: (channels, height, width) of what goes into the first.
        threads: that it computes with.

    Raises:
        UnsupportedError: a module does something else than convolutions and additions.
        RuntimeError: OpenVINO has no such program for this processor.
    """

    def __init__(self, modules: Sequence[nn.Module], shape: Sequence[int], threads: int) -> None:
        openvino = _openvino()
        image = openvino.opset13.parameter(openvino.PartialShape([-1, *shape]), openvino.Type.f32)
        output = _written(nn.Sequential(*modules), image.output(0))
        settings = {**SETTINGS, "INFERENCE_NUM_THREADS": threads}
        compiled = _core().compile_model(openvino.Model([output], [image]), "CPU", settings)
        self._request, self._tensor = compiled.create_infer_request(), openvino.Tensor
        self._shape = [int(size.get_length()) for size in list(output.get_partial_shape())[1:]]
        self._alone = Lock()  # a request computes one batch at a time

    def __call__(self, x: Tensor) -> Tensor:
        """What the modules compute of ``x``, (batch, *shape), float32 on the CPU; without gradient."""
        image, output = x.detach().contiguous(), torch.empty(len(x), *self._shape)
        with self._alone:
            self._request.set_input_tensor(self._tensor(image.numpy(), shared_memory=True))
            self._request.set_output_tensor(self._tensor(output.numpy(), shared_memory=True))
            self._request.infer()
        return output


class _Tracer(fx.Tracer):
    """Looks into whatever has children, but for what folding knows as one layer, and each ``nn.Sequential``'s."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return hasattr(m, "inside") or not list(m.children())

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        plain = partial(nn.Sequential.forward, m) if isinstance(m, nn.Sequential) else forward
        return super().call_module(m, plain, args, kwargs)


def _written(net: nn.Sequential, x: Any) -> Any:
    """The output of a program of what ``net`` does to ``x``, the output of another."""
    values: dict[fx.Node, Any] = {}
    try:
        graph = _Tracer().trace(net)
    except (fx.proxy.TraceError, TypeError) as error:  # it asks for the numbers in a feature map
        raise UnsupportedError(str(error)) from error
    for node in graph.nodes:
        inputs = [values[source] for source in node.all_input_nodes]
        if node.op == "placeholder":
            values[node] = x
        elif node.op == "call_module" and len(inputs) == 1:
            values[node] = _layer(net.get_submodule(str(node.target)), inputs[0])
        elif node.op == "call_function" and node.target in ADDITIONS and len(inputs) == 2 and not node.kwargs:
            values[node] = _openvino().opset13.add(*inputs).output(0)
        elif node.op == "output" and len(inputs) == 1:
            return inputs[0]
        else:
            raise UnsupportedError(f"{node.op} {node.target}")
    raise UnsupportedError("no output")


def _layer(layer: nn.Module, x: Any) -> Any:
    if isinstance(layer, nn.Identity) or getattr(layer, "inside", False):
        return x
    if isinstance(layer, FoldingConv2d | FoldingSameConv2d) and layer.folded is not None:
        return _convolution(layer, layer.folded, x)
    raise UnsupportedError(type(layer).__name__)


def _convolution(conv: nn.Conv2d, folded: Folded, x: Any) -> Any:
    ops = _openvino().opset13
    kernel, same = folded.weight.contiguous(), isinstance(conv, SameConv2d)
    padding = (0, 0) if same else conv.padding
    options = {"auto_pad": "same_upper"} if same else {}  # TensorFlow's, that is
    arguments = (conv.stride, padding, padding, conv.dilation)
    if conv.groups == 1:
        node = ops.convolution(x, ops.constant(kernel.numpy()), *arguments, **options)
    else:
        grouped = kernel.view(conv.groups, -1, *kernel.shape[1:])
        node = ops.group_convolution(x, ops.constant(grouped.numpy()), *arguments, **options)
    node = ops.add(node, ops.constant(folded.bias.view(1, -1, 1, 1).numpy()))
    return (ops.clamp(node, 0.0, CEILING) if folded.rectified else node).output(0)
