"""Frozen BatchNorm, and the ReLU6 after it, inside the convolution before: the same in fewer passes over memory.

Parameters, buffers and the state dict stay what they are, so checkpoints and exports know nothing of this. The folded
weights are made from them anew whenever one of them has changed, and unused as soon as one of them trains.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import _get_current_dispatch_mode

from lightning_tl import fused_conv
from lightning_tl.batchnorm import InferenceBatchNorm2d
from lightning_tl.blocked import conv2d_blocked
from lightning_tl.fingerprint import written
from lightning_tl.padding import SameConv2d, both_sides, same_conv2d, same_padded, same_padding
from lightning_tl.plainly import plainly
from lightning_tl.relu6 import InnerReLU6, computed_in, conv2d_relu6
from lightning_tl.watching import is_watched


class Folded(NamedTuple):
    """A convolution and the BatchNorm after it in one.

    Attributes:
        weight: as the convolution's, in the type that the network computes in.
        bias: (out,), in the type of its parameters: autocast's bfloat16 would move whole channels by its rounding, as
            it does on a GPU without the kernels of ``fused_conv``, where autocast casts it nevertheless.
        rectified: whether the ReLU6 after both is in it too.
    """

    weight: Tensor
    bias: Tensor
    rectified: bool


class _Folding(nn.Module):
    """A convolution that may stand for itself and what comes after it.

    Attributes:
        folded: all of it in one, which does not train; None while they are apart.
        norm: the BatchNorm after it, in a tuple so that it is no child of two modules.
        joined: whether it scales the kernel by that BatchNorm, as one of the two trains.
        folded_from: the state that these were made from, or that forbade them.
    """

    folded: Folded | None = None
    norm: tuple[InferenceBatchNorm2d, ...] = ()
    joined = False
    folded_from: tuple[Any, ...] = ()

    def stands_alone(self) -> bool:
        """Whether it is a convolution and nothing else, here and now."""
        return (self.folded is None and not self.joined) or plainly()


class FoldingConv2d(_Folding, nn.Conv2d):
    """``nn.Conv2d``, see ``_Folding``."""

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Conv2d``, with what comes after it where that is folded in."""
        if self.stands_alone():
            return super().forward(input)
        if self.folded is None:
            return self._conv_forward(input, *_joined_weights(self, *self.norm))  # type: ignore[no-any-return]
        weight, bias, rectified = self.folded
        stride, padding, dilation = self.stride, self.padding, self.dilation
        if not isinstance(padding, str) and self.padding_mode == "zeros" and fused_conv.offered(input, weight):
            sides = (padding[1], padding[1], padding[0], padding[0])
            return fused_conv.conv2d(input, weight, bias, stride, sides, dilation, self.groups, rectified)
        if not rectified and not input.is_mkldnn:
            return self._conv_forward(input, weight, bias)  # type: ignore[no-any-return]
        assert not isinstance(padding, str)  # see has_plain_padding
        if input.is_mkldnn:
            return conv2d_blocked(input, weight, bias, stride, padding, dilation, self.groups, rectified)
        return conv2d_relu6(input, weight, bias, stride, padding, dilation, self.groups)


class FoldingSameConv2d(_Folding, SameConv2d):
    """A convolution with TensorFlow's padding, see ``_Folding``."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``SameConv2d``, with what comes after it where that is folded in."""
        if self.stands_alone():
            return super().forward(x)
        if self.folded is None:
            weight, bias = _joined_weights(self, *self.norm)
            return same_conv2d(x, weight, bias, self.stride, self.dilation, self.groups)  # type: ignore[arg-type]
        weight, bias, rectified = self.folded
        stride, dilation = self.stride, self.dilation
        if fused_conv.offered(x, weight):
            sides = both_sides(*same_padding(x, weight, stride, dilation))  # type: ignore[arg-type]
            return fused_conv.conv2d(x, weight, bias, stride, sides, dilation, self.groups, rectified)
        if not rectified and not x.is_mkldnn:
            return same_conv2d(x, weight, bias, stride, dilation, self.groups)  # type: ignore[arg-type]
        x, weight, padding = same_padded(x, weight, stride, dilation)  # type: ignore[arg-type]
        if x.is_mkldnn:
            return conv2d_blocked(x, weight, bias, stride, padding, dilation, self.groups, rectified)
        return conv2d_relu6(x, weight, bias, stride, padding, dilation, self.groups)


def is_folded(module: nn.Module) -> bool:
    """Whether this is a convolution that stands for the BatchNorm after it too, none of which trains."""
    return isinstance(module, _Folding) and module.folded is not None


def norm_trains(module: nn.Module) -> bool:
    """Whether this is a convolution that computes, or would with gradients, with a BatchNorm that trains."""
    if not isinstance(module, _Folding):
        return False
    return any(parameter.requires_grad for norm in module.norm for parameter in norm.parameters())


FOLDING: dict[type[nn.Module], type[Any]] = {nn.Conv2d: FoldingConv2d, SameConv2d: FoldingSameConv2d}
"""The convolutions that can be folded, and what they become."""


class Pair(NamedTuple):
    """A convolution whose output goes into a BatchNorm and nowhere else, and that one's, perhaps, into a ReLU6.

    Attributes:
        parent: the module that has the convolution ...
        name: ... under this name.
    """

    conv: FoldingConv2d  # or FoldingSameConv2d
    norm: InferenceBatchNorm2d  # or timm_network.InferenceBatchNormAct2d
    relu6: InnerReLU6 | None
    parent: nn.Module
    name: str

    def is_as_found(self) -> bool:
        """Whether the convolution is where it was, the weights are their modules' own, and nobody watches them.

        What is pruned or parametrized is computed as it is called; and hooks are to see what each module gives.
        """
        if self.parent._modules.get(self.name) is not self.conv:
            return False
        if not all({"weight", "bias"} <= module._parameters.keys() for module in (self.conv, self.norm)):
            return False
        both = [*self.conv.modules(), *self.norm.modules()]
        return not any(map(is_watched, both if self.relu6 is None else [*both, self.relu6]))


def has_plain_padding(conv: nn.Conv2d) -> bool:
    """Whether the convolution's padding is one that ``conv2d_relu6`` takes: zeros, by number."""
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


class Folds:
    """Pairs that are kept folded where they can be; asking whether anything has changed costs little.

    Args:
        pairs: of one network.

    Attributes:
        diverged: whether they are apart as their weights are no numbers, see ``is_finite``.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = tuple(pairs)
        self.diverged = False
        self._state: list[Any] = []
        self._of: Sequence[Any] = ()

    def update(self, fingerprint: list[Any], gradients: bool) -> None:
        """Fold and unfold as what trains, what was written to and autocast ask for now; see ``fold_frozen``.

        Args:
            fingerprint: of the network; with the numbers that train where gradients are off. Where they are on, what
                trains has its BatchNorm joined, which is computed from the tensors at every call.
            gradients: whether they are on.
        """
        if not self.pairs:
            return
        mean = self.pairs[0].norm.running_mean
        assert mean is not None
        state = [gradients, computed_in(mean), *fingerprint]
        if state != self._state:
            fold_frozen(self.pairs, gradients)
            self.diverged = not is_finite(
                *(of for pair in self.pairs if pair.conv.folded for of in pair.conv.folded[:2])
            )
            if self.diverged:
                self.forget()
            self._state = state
            self._of = fingerprint  # kept: see ``fingerprint.Value``

    def __getstate__(self) -> dict[str, Any]:
        """Identities of tensors say nothing of copies, nor in other processes."""
        return {"pairs": self.pairs, "diverged": False, "_state": [], "_of": ()}

    def forget(self) -> None:
        """Take the pairs apart, to be folded anew, as when tensors were written to through ``tensor.data``."""
        self._state, self._of = [], ()
        for pair in self.pairs:
            unfold(pair)


@torch.inference_mode(False)  # whose tensors no later backward could use
@torch.no_grad()
def fold_frozen(pairs: Sequence[Pair], gradients: bool) -> None:
    """Fold the pairs that need no gradient now, and join the others; those that have not changed stay what they are.

    Where gradients are off, as in validation, that is all of them: what is evaluated does not depend on the phase, but
    for the rounding of a graph of what a phase freezes (see ``frozen_graph``). A pair that others have changed, or
    watch, is taken apart, see ``Pair.is_as_found``.
    Pairs that train in less than float32 stay apart, as their product would be rounded rather than the kernel; and on a
    GPU, see ``_is_better_joined``.
    """
    for pair in pairs:
        if not pair.is_as_found():
            unfold(pair)
            continue
        state = _state(pair, gradients)
        if state != pair.conv.folded_from:
            unfold(pair)
            trains = gradients and any(tensor.requires_grad for tensor in _tensors(pair))
            if not pair.norm.training and not trains:
                fold(pair)
            elif not pair.norm.training and _is_better_joined(pair.conv.weight):
                join(pair)
            pair.conv.folded_from = state


def is_finite(*tensors: Tensor) -> bool:
    """Whether there is neither NaN nor infinity in them, which oneDNN's ReLU6 would take for numbers; True on a GPU.

    Their sum is one pass, less than a hundredth of a training step's time for a batch of images. True too where
    somebody looks at operations, such as those who trace them.
    """
    if not tensors or tensors[0].device.type != "cpu" or _get_current_dispatch_mode() is not None:
        return True
    sums = [tensor.detach().sum(dtype=torch.float32 if tensor.dtype == torch.half else None) for tensor in tensors]
    return bool(torch.stack(sums).sum().isfinite())


def _is_better_joined(weight: Tensor) -> bool:
    """On a CPU.

    A GPU would start some sixteen small kernels more for each pair, to save three passes over small maps: they are
    counted, and what they cost was not measured.
    """
    return weight.device.type == "cpu" and computed_in(weight) in (torch.float32, torch.float64)


def fold(pair: Pair) -> None:
    """Let the convolution compute all; its weights are made in float64 and rounded once."""
    conv, norm, relu6 = pair[:3]
    device = conv.weight.device
    at = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    conv_weight, conv_bias, mean, variance, weight, bias = (
        None if tensor is None else tensor.to(at).double()
        for tensor in (conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    assert conv_weight is not None
    assert mean is not None
    assert variance is not None
    folded = fuse_conv_bn_weights(conv_weight, conv_bias, mean, variance, norm.eps, weight, bias)
    dtype = computed_in(conv.weight)
    kernel, shift = folded[0].detach().to(dtype).to(device), folded[1].detach().to(conv.weight.dtype).to(device)
    conv.folded = Folded(fused_conv.arranged(kernel, conv.groups), shift, relu6 is not None)
    norm.inside = True
    if relu6 is not None:
        relu6.inside = True


def join(pair: Pair) -> None:
    """Let the convolution compute with BatchNorm's scale in its kernel, both of them training on."""
    pair.conv.joined, pair.norm.inside = True, True


def unfold(pair: Pair) -> None:
    """Let each compute its own."""
    pair.conv.folded, pair.conv.joined, pair.conv.folded_from, pair.norm.inside = None, False, (), False
    if pair.relu6 is not None:
        pair.relu6.inside = False


def tensors_read(modules: Iterable[nn.Module]) -> list[Any]:
    """What these modules, each by itself, compute with, folded weights too: for who keeps addresses to keep alive."""
    return [(*of._parameters.values(), *of._buffers.values(), getattr(of, "folded", None)) for of in modules]


def _joined_weights(conv: nn.Conv2d, norm: InferenceBatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of both in one, through which gradients reach what they are made from.

    Statistics that stand still make BatchNorm a scale and a shift of each channel, and scaling a kernel is less work
    than scaling its feature map: one pass over the map less forward, and two less backward.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight
    shift = (-norm.running_mean if conv.bias is None else conv.bias - norm.running_mean) * scale
    return conv.weight * scale.view(-1, 1, 1, 1), shift if norm.bias is None else shift + norm.bias


def _tensors(pair: Pair) -> list[Tensor]:
    conv, norm = pair[:2]
    all_six = (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return [tensor for tensor in all_six if tensor is not None]


def _state(pair: Pair, gradients: bool) -> tuple[Any, ...]:
    """What the folded weights depend on."""
    tensors = _tensors(pair)
    facts = [(written(tensor), tensor.dtype, gradients and tensor.requires_grad) for tensor in tensors]
    return (pair.norm.training, pair.norm.eps, computed_in(tensors[0]), *facts)
