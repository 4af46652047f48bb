"""Which convolutions of a network can be folded: found by running it, and proven."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.batchnorm import InnerNorm
from lightning_tl.folding import FOLDING, Pair, fold, has_plain_padding, unfold
from lightning_tl.plainly import as_folded
from lightning_tl.relu6 import InnerReLU6

PROOF_TOLERANCE = 1e-4
"""Relative to the largest feature. Folding moves float32 features by 1e-6; a wrong pair moves them by all."""
OF_CUDA = 3e-2
"""The same on CUDA, where some kernels add in another order each time, in TF32 (by default) or bfloat16 perhaps."""


def proof_tolerance(image: Tensor) -> float:
    """How far features may move, relative to the largest, where ``image`` is."""
    return OF_CUDA if image.is_cuda else PROOF_TOLERANCE


def find_pairs(net: nn.Module, features: Callable[[Tensor], Tensor], size: tuple[int, int]) -> tuple[Pair, ...]:
    """The convolutions of ``net`` that can be folded, made able to, in place; tensors and names stay.

    They are found by running the network, and proven: with random statistics in every BatchNorm the folded network
    must compute what the plain one does. A network in which a convolution's output is used elsewhere too, or whose
    features are no tensor, is left as it is.

    Args:
        net: the network, in inference mode, its BatchNorm held still.
        features: from scaled images (1, 3, height, width) to features through ``net``.
        size: (height, width) of the image to run it on, in pixels.
    """
    like = next(net.parameters())
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=generator, device="cpu").to(like)
    pairs = _follow(net, lambda: features(image))
    modules = [module for pair in pairs for module in (pair.conv, pair.relu6) if module is not None]
    classes = [module.__class__ for module in modules]
    for module, cls in zip(modules, classes, strict=True):
        module.__class__ = FOLDING.get(cls, InnerReLU6)
    if not pairs or _proven(pairs, lambda: features(image), generator):
        for pair in pairs:
            pair.conv.norm = (pair.norm,)
        return pairs
    for module, cls in zip(modules, classes, strict=True):
        module.__class__ = cls
    return ()


def _follow(net: nn.Module, run: Callable[[], Any]) -> tuple[Pair, ...]:
    """Convolutions, the BatchNorm that took their very output and the ReLU6 that took its, in order of execution."""
    outputs: list[tuple[Tensor, nn.Module]] = []  # kept, so that no other tensor gets the identity of one
    takes: list[tuple[nn.Module, nn.Module]] = []
    calls: Counter[nn.Module] = Counter()

    def after(module: nn.Module, args: Any, output: Tensor) -> None:
        outputs.append((output, module))

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls[module] += 1
        takes.extend((source, module) for output, source in outputs if output is args[0])

    gives = [module for module in net.modules() if type(module) in FOLDING or isinstance(module, InnerNorm)]
    handles = [module.register_forward_hook(after) for module in gives]
    handles += [
        module.register_forward_pre_hook(before)
        for module in net.modules()
        if isinstance(module, InnerNorm) or type(module) is nn.ReLU6
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    # What is called in several places does in the others what nothing else would do for it.
    relu6: dict[nn.Module, Any] = {norm: act for norm, act in takes if type(act) is nn.ReLU6 and calls[act] == 1}
    relu6 |= {norm: act for norm in gives if isinstance(norm, InnerNorm) and (act := norm.own_relu6()) is not None}
    found: list[tuple[Any, Any]] = [
        (conv, norm) for conv, norm in takes if isinstance(norm, InnerNorm) and type(conv) in FOLDING
    ]
    place = {child: (parent, name) for parent in net.modules() for name, child in parent.named_children()}
    return tuple(
        Pair(conv, norm, relu6.get(norm) if has_plain_padding(conv) else None, *place[conv]) for conv, norm in found
    )


@torch.no_grad()
def _proven(pairs: Sequence[Pair], run: Callable[[], Any], generator: torch.Generator) -> bool:
    """Whether folding changes nothing, BatchNorm having statistics that would show it."""
    statistics = [t for pair in pairs for t in (pair.norm.running_mean, pair.norm.running_var) if t is not None]
    kept = [tensor.clone() for tensor in statistics]
    try:
        for tensor in statistics:
            tensor.copy_(torch.rand(tensor.shape, generator=generator, device="cpu") + 0.5)
        plain = run()
        if not isinstance(plain, Tensor):  # several, which the network's pooling alone knows how to compare
            return False
        for pair in pairs:
            fold(pair)
        with as_folded():
            folded = run()
        difference = (folded - plain).abs().max() / plain.abs().max().clamp_min(torch.finfo(plain.dtype).tiny)
    finally:
        for pair in pairs:
            unfold(pair)
        for tensor, old in zip(statistics, kept, strict=True):
            tensor.copy_(old)
    return bool(difference < proof_tolerance(plain))
