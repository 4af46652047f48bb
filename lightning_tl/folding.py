"""Frozen BatchNorm inside the convolution before it: the same function with fewer passes over memory.

Parameters, buffers and the state dict stay what they are, so checkpoints and exports know nothing of this. The folded
weights are made from them anew whenever one of them has changed, and unused as soon as one of them trains.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lightning_tl.batchnorm import InferenceBatchNorm2d, InferenceBatchNormAct2d
from lightning_tl.padding import SameConv2d, same_conv2d

PROOF_TOLERANCE = 1e-4
"""Relative to the largest feature. Folding moves float32 features by 1e-6; a wrong pair moves them by all."""


class _Folding(nn.Module):
    """A convolution that may stand for itself and the BatchNorm after it.

    Attributes:
        folded: weight and bias of both in one; None while they are apart.
        folded_from: the state that ``folded`` was made from, or that forbade it.
    """

    folded: tuple[Tensor, Tensor] | None = None
    folded_from: tuple[Any, ...] = ()


class FoldingConv2d(_Folding, nn.Conv2d):
    """``nn.Conv2d``, see ``_Folding``."""

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Conv2d``, with the BatchNorm after it where that is folded in."""
        if self.folded is None:
            return super().forward(input)
        return self._conv_forward(input, *self.folded)  # type: ignore[no-any-return]


class FoldingSameConv2d(_Folding, SameConv2d):
    """A convolution with TensorFlow's padding, see ``_Folding``."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``SameConv2d``, with the BatchNorm after it where that is folded in."""
        if self.folded is None:
            return super().forward(x)  # type: ignore[no-any-return]
        return same_conv2d(x, *self.folded, self.stride, self.dilation, self.groups)  # type: ignore[arg-type]


_FOLDING: dict[type[nn.Module], type[Any]] = {nn.Conv2d: FoldingConv2d, SameConv2d: FoldingSameConv2d}


class Pair(NamedTuple):
    """A convolution whose output goes into a BatchNorm and nowhere else."""

    conv: FoldingConv2d  # or FoldingSameConv2d
    norm: InferenceBatchNorm2d  # or InferenceBatchNormAct2d


def find_pairs(net: nn.Module, features: Callable[[Tensor], Tensor], size: tuple[int, int]) -> tuple[Pair, ...]:
    """The convolutions of ``net`` that can be folded, made able to, in place; tensors and names stay.

    They are found by running the network, and proven: with random statistics in every BatchNorm the folded network
    must compute what the plain one does. A network in which a convolution's output is used elsewhere too is left as
    it is.

    Args:
        net: the network, in inference mode, its BatchNorm held still.
        features: from scaled images (1, 3, height, width) to features through ``net``.
        size: (height, width) of the image to run it on, in pixels.
    """
    like = next(net.parameters())
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=generator).to(like)
    found = _follow(net, lambda: features(image))
    if not found:
        return ()
    classes = [conv.__class__ for conv, _ in found]
    for conv, _ in found:
        conv.__class__ = _FOLDING[type(conv)]
    pairs = tuple(Pair(conv, norm) for conv, norm in found)
    if _proven(pairs, lambda: features(image), generator):
        return pairs
    for pair, cls in zip(pairs, classes, strict=True):
        unfold(pair)
        pair.conv.__class__ = cls
    return ()


@torch.inference_mode(False)  # whose tensors no later backward could use
@torch.no_grad()
def fold_frozen(pairs: Sequence[Pair], gradients: bool) -> None:
    """Fold the pairs that need no gradient now, and take apart the others; costs little where nothing has changed.

    Where gradients are off, as in validation, that is all of them: what is evaluated does not depend on the phase.
    """
    for pair in pairs:
        state = _state(pair, gradients)
        if state != pair.conv.folded_from:
            unfold(pair)
            trains = gradients and any(tensor.requires_grad for tensor in _tensors(pair))
            if not pair.norm.training and not trains:
                pair.conv.folded, pair.norm.inside = _fold(pair), True
            pair.conv.folded_from = state


def unfold(pair: Pair) -> None:
    """Let convolution and BatchNorm compute apart."""
    pair.conv.folded, pair.norm.inside, pair.conv.folded_from = None, False, ()


def _fold(pair: Pair) -> tuple[Tensor, Tensor]:
    """Weight and bias of both, computed in float64, in the type and memory format of the convolution's."""
    conv, norm = pair
    conv_weight, conv_bias, mean, variance, weight, bias = (
        None if tensor is None else tensor.double()
        for tensor in (conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    assert conv_weight is not None
    assert mean is not None
    assert variance is not None
    folded = fuse_conv_bn_weights(conv_weight, conv_bias, mean, variance, norm.eps, weight, bias)
    return folded[0].detach().to(conv.weight.dtype), folded[1].detach().to(conv.weight.dtype)


def _tensors(pair: Pair) -> list[Tensor]:
    conv, norm = pair
    all_six = (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return [tensor for tensor in all_six if tensor is not None]


def _state(pair: Pair, gradients: bool) -> tuple[Any, ...]:
    """What the folded weights depend on; tensors by where they are and how often they were written to."""
    facts = [
        (
            tensor.data_ptr(),
            0 if tensor.is_inference() else tensor._version,
            tensor.dtype,
            gradients and tensor.requires_grad,
        )
        for tensor in _tensors(pair)
    ]
    return (pair.norm.training, pair.norm.eps, *facts)


def _follow(net: nn.Module, run: Callable[[], Tensor]) -> list[tuple[Any, Any]]:
    """Convolutions and the BatchNorm that took their very output, in order of execution."""
    outputs: list[tuple[Tensor, nn.Module]] = []  # kept, so that no other tensor gets the identity of one
    found: list[tuple[Any, Any]] = []

    def after(module: nn.Module, args: Any, output: Tensor) -> None:
        outputs.append((output, module))

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        found.extend((conv, module) for output, conv in outputs if output is args[0])

    handles = [module.register_forward_hook(after) for module in net.modules() if type(module) in _FOLDING]
    handles += [
        module.register_forward_pre_hook(before)
        for module in net.modules()
        if isinstance(module, (InferenceBatchNorm2d, InferenceBatchNormAct2d))
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found


@torch.no_grad()
def _proven(pairs: Sequence[Pair], run: Callable[[], Tensor], generator: torch.Generator) -> bool:
    """Whether folding changes nothing, BatchNorm having statistics that would show it."""
    statistics = [t for _, norm in pairs for t in (norm.running_mean, norm.running_var) if t is not None]
    kept = [tensor.clone() for tensor in statistics]
    try:
        for tensor in statistics:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        plain = run()
        for pair in pairs:
            pair.conv.folded, pair.norm.inside = _fold(pair), True
        difference = (run() - plain).abs().max() / plain.abs().max().clamp_min(torch.finfo(plain.dtype).tiny)
    finally:
        for pair in pairs:
            unfold(pair)
        for tensor, old in zip(statistics, kept, strict=True):
            tensor.copy_(old)
    return bool(difference < PROOF_TOLERANCE)
