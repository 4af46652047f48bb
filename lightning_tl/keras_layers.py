"""Keras' MobileNetV2 as a list of layers, and where each of them lives in torchvision and timm.

Built from the same block table as ``keras/src/applications/mobilenet_v2.py`` (Keras 3.15.1, Apache-2.0) and
Sandler et al., "MobileNetV2" (arXiv:1801.04381), table 2. Neither torch nor Keras is imported here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

Library = Literal["torchvision", "timm"]

ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""Width multipliers for which Keras publishes ImageNet weights."""

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Stages: expansion, channels at alpha 1, blocks, stride of the first block."""

WEIGHTS = {
    "Conv2D": (("kernel", "weight"),),
    "DepthwiseConv2D": (("kernel", "weight"),),
    "BatchNormalization": (
        ("gamma", "weight"),
        ("beta", "bias"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_var"),
    ),
}
"""Variables of each weighted kind in Keras' order: Keras name, torch name."""

AXES = {"Conv2D": (3, 2, 0, 1), "DepthwiseConv2D": (2, 3, 0, 1), "BatchNormalization": (0,)}
"""``torch = keras.transpose(AXES)``: (h, w, in, out) to (out, in, h, w), and (h, w, C, 1) to (C, 1, h, w)."""


@dataclass(frozen=True)
class KerasLayer:
    """One layer of Keras' MobileNetV2.

    Attributes:
        name: Keras' own, as ``block_1_expand_BN``.
        kind: name of the Keras class.
        inputs: channels in. outputs: channels out.
        kernel: side of a convolution's window. stride: of a convolution.
        block: number of the inverted residual block, or -1 outside of them.
        torchvision: path of the module with its weights in ``torchvision.models.mobilenet_v2()``, or None.
        timm: the same in ``timm.create_model("mobilenetv2_100")``.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    block: int = -1
    torchvision: str | None = None
    timm: str | None = None

    def module(self, library: Library) -> str | None:
        """Path of the torch module that holds this layer's weights, or None where it has none."""
        return self.torchvision if library == "torchvision" else self.timm


@dataclass(frozen=True)
class Variable:
    """One row of the name table.

    Attributes:
        keras: ``layer/variable``, as ``Conv1/kernel``.
        torch: name in the torch model's state dict, as ``features.0.0.weight``.
        shape: in Keras' axis order.
        axes: the transposition that makes the torch tensor of the Keras variable.
    """

    keras: str
    torch: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """Shape in torch's axis order."""
        return tuple(self.shape[axis] for axis in self.axes)


@cache
def mobilenetv2_layers(alpha: float = 1.0, pooling: bool = False) -> tuple[KerasLayer, ...]:
    """The layers of ``keras.applications.MobileNetV2(alpha=alpha, include_top=False)`` in Keras' order.

    Args:
        alpha: width multiplier. At very small ones channel rounding adds shortcuts, so the count changes.
        pooling: as ``pooling="avg"``, which is one more layer.

    Returns:
        154 layers at the published alphas, 155 with pooling.
    """
    stem = divisible(32 * alpha)
    first = KerasLayer("Conv1", "Conv2D", 3, stem, 3, 2, torchvision="features.0.0", timm="conv_stem")
    layers = [KerasLayer("input_layer", "InputLayer", 3, 3)]
    layers += _unit(first, ("bn_Conv1", "features.0.1", "bn1"), "Conv1_relu")
    for block in _blocks(alpha, stem):
        layers += _block_layers(block)
    width, top = layers[-1].outputs, divisible(1280 * max(1.0, alpha))
    last = KerasLayer("Conv_1", "Conv2D", width, top, torchvision="features.18.0", timm="conv_head")
    layers += _unit(last, ("Conv_1_bn", "features.18.1", "bn2"), "out_relu")
    if pooling:
        layers.append(KerasLayer("global_average_pooling2d", "GlobalAveragePooling2D", top, top))
    return tuple(layers)


def torch_modules(library: Library, alpha: float = 1.0) -> list[tuple[str, str | None]]:
    """Keras layer name and torch module path (None for a layer without weights), in Keras' order.

    Raises:
        ValueError: ``library`` is neither torchvision nor timm.
    """
    _known(library)
    return [(layer.name, layer.module(library)) for layer in mobilenetv2_layers(alpha)]


@cache
def name_table(library: Library, alpha: float = 1.0) -> tuple[Variable, ...]:
    """Every Keras variable beside its torch tensor, one to one, in Keras' order; 260 at the published alphas.

    ``num_batches_tracked`` has no counterpart in Keras and is in no row.

    Raises:
        ValueError: ``library`` is neither torchvision nor timm.
    """
    _known(library)
    return tuple(_variables(library, alpha))


def divisible(channels: float) -> int:
    """Channels rounded to a multiple of 8, at most 10 % down (``_make_divisible`` in Keras)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def same_widths(alpha: float) -> bool:
    """Whether Keras and torchvision round the channels of every stage alike at this width multiplier.

    Keras truncates ``channels * alpha`` first: 0.56 makes 8 of 16 channels, and 16 in torchvision.
    """
    return all(divisible(int(filters * alpha)) == divisible(filters * alpha) for _, filters, _, _ in BLOCKS)


@dataclass(frozen=True)
class _Block:
    index: int
    stage: int
    position: int
    inputs: int
    outputs: int
    expansion: int
    stride: int


def _blocks(alpha: float, inputs: int) -> Iterator[_Block]:
    index = 0
    for stage, (expansion, filters, repeats, stride) in enumerate(BLOCKS):
        outputs = divisible(int(filters * alpha))  # Keras truncates before it rounds
        for position in range(repeats):
            yield _Block(index, stage, position, inputs, outputs, expansion, stride if position == 0 else 1)
            index, inputs = index + 1, outputs


def _block_layers(block: _Block) -> list[KerasLayer]:
    """Expansion (absent in block 0), depthwise convolution, projection, shortcut where shapes allow."""
    prefix = f"block_{block.index}_" if block.index else "expanded_conv_"
    wide, at = block.inputs * block.expansion, int(block.expansion > 1)
    layers: list[KerasLayer] = []
    if block.expansion > 1:
        layers += _part(block, 0, KerasLayer(f"{prefix}expand", "Conv2D", block.inputs, wide))
    if block.stride == 2:
        layers.append(KerasLayer(f"{prefix}pad", "ZeroPadding2D", wide, wide, block=block.index))
    depthwise = KerasLayer(f"{prefix}depthwise", "DepthwiseConv2D", wide, wide, 3, block.stride)
    layers += _part(block, at, depthwise)
    layers += _part(block, at + 1, KerasLayer(f"{prefix}project", "Conv2D", wide, block.outputs))
    if block.stride == 1 and block.inputs == block.outputs:
        layers.append(KerasLayer(f"{prefix}add", "Add", block.outputs, block.outputs, block=block.index))
    return layers


def _part(block: _Block, at: int, conv: KerasLayer) -> list[KerasLayer]:
    """The ``at``-th convolution of a block; torchvision nests those that end in an activation one deeper."""
    linear = conv.name.endswith("project")
    vision, timm = f"features.{block.index + 1}.conv", f"blocks.{block.stage}.{block.position}"
    pair = (f"{vision}.{at}", f"{vision}.{at + 1}") if linear else (f"{vision}.{at}.0", f"{vision}.{at}.1")
    pointwise = "conv_pwl" if linear and block.expansion > 1 else "conv_pw"
    timm_name = "conv_dw" if conv.kind == "DepthwiseConv2D" else pointwise
    conv = replace(conv, block=block.index, torchvision=pair[0], timm=f"{timm}.{timm_name}")
    return _unit(conv, (f"{conv.name}_BN", pair[1], f"{timm}.bn{at + 1}"), None if linear else f"{conv.name}_relu")


def _unit(conv: KerasLayer, norm: tuple[str, str, str], relu: str | None) -> list[KerasLayer]:
    """A convolution, its normalisation (Keras name, torchvision path, timm path) and, where named, ReLU6."""
    name, vision, timm = norm
    width, block = conv.outputs, conv.block
    normalise = KerasLayer(name, "BatchNormalization", width, width, 1, 1, block, vision, timm)
    return [conv, normalise, *([KerasLayer(relu, "ReLU", width, width, block=block)] if relu else [])]


def _variables(library: Library, alpha: float) -> Iterator[Variable]:
    for layer in mobilenetv2_layers(alpha):
        for keras, torch in WEIGHTS.get(layer.kind, ()):
            names = f"{layer.name}/{keras}", f"{layer.module(library)}.{torch}"
            yield Variable(*names, _shape(layer), AXES[layer.kind])


def _shape(layer: KerasLayer) -> tuple[int, ...]:
    if layer.kind == "BatchNormalization":
        return (layer.outputs,)
    last = (layer.inputs, layer.outputs) if layer.kind == "Conv2D" else (layer.outputs, 1)
    return (layer.kernel, layer.kernel, *last)


def _known(library: str) -> None:
    if library not in get_args(Library):
        raise ValueError(f"library is one of {', '.join(get_args(Library))}. Received: {library!r}")
