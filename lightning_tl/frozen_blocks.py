"""The blocks of a network that are convolutions alone, in oneDNN's memory layout for as long as they are folded."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from lightning_tl.blocked import to_blocked, to_plain
from lightning_tl.foldable import PROOF_TOLERANCE
from lightning_tl.folding import Pair, has_plain_padding
from lightning_tl.relu6 import in_one_pass


class FrozenBlocks(nn.Sequential):
    """``nn.Sequential`` that hands feature maps from one folded block to the next in the layout of ``blocked``.

    Attributes:
        pairs: of each child, in order; None where the child is not made of folded convolutions alone.
    """

    pairs: tuple[tuple[Pair, ...] | None, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Sequential``."""
        x = input
        for module, pairs in zip(self, self.pairs, strict=True):
            x = to_blocked(x, dtype) if (dtype := _computes_in(module, pairs, x)) else to_plain(x)
            x = module(x)
        return x if input.is_mkldnn else to_plain(x)


def find_blocks(
    net: nn.Module, pairs: Sequence[Pair], features: Callable[[Tensor], Tensor], size: tuple[int, int]
) -> None:
    """Turn the ``nn.Sequential`` of ``net`` that have such blocks into ``FrozenBlocks``, in place; names stay.

    What their blocks do between convolutions, such as the addition of a residual, is proven to work in that layout by
    running the network; where it does not, the network is left as it is.

    Args:
        net: the network, in inference mode.
        pairs: all of its convolutions that can be folded.
        features: from scaled images (1, 3, height, width) to features through ``net``, folded where it can be.
        size: (height, width) of the image to run it on, in pixels.
    """
    found = {module: _pairs_of(module, pairs) for module in net.modules() if type(module) is nn.Sequential}
    found = {module: of for module, of in found.items() if any(of)}
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(next(net.parameters()))
    with torch.no_grad():
        plain = features(image)
        for module, of in found.items():
            module.__class__ = FrozenBlocks
            cast(FrozenBlocks, module).pairs = of
        if not _agrees(features, image, plain):
            for module in found:
                module.__class__ = nn.Sequential


def _agrees(features: Callable[[Tensor], Tensor], image: Tensor, plain: Tensor) -> bool:
    try:
        difference = (features(image) - plain).abs().max() / plain.abs().max()
    except RuntimeError:  # an operation that this layout does not have
        return False
    return bool(difference < PROOF_TOLERANCE)


def _pairs_of(parent: nn.Sequential, pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...] | None, ...]:
    """See ``FrozenBlocks.pairs``; empty where some children are single layers and no blocks."""
    leaves = {module for pair in pairs for module in pair if module is not None}
    children = []
    for child in parent:
        own = [module for module in child.modules() if not list(module.children())]
        if own == [child]:
            return ()
        whole = all(module in leaves or isinstance(module, nn.Identity) for module in own)
        whole = whole and all(has_plain_padding(pair.conv) for pair in pairs if pair.conv in own)
        children.append(tuple(pair for pair in pairs if pair.conv in own) if whole else None)
    return tuple(children)


def _computes_in(module: nn.Module, pairs: tuple[Pair, ...] | None, x: Tensor) -> torch.dtype | None:
    """The type in which the block computes in that layout now; None if it doesn't: something of it is to train."""
    weights = [pair.conv.folded.weight for pair in pairs or () if pair.conv.folded is not None]
    if not pairs or len(weights) < len(pairs):
        return None
    if any(part._forward_hooks or part._forward_pre_hooks for part in module.modules()):  # they expect plain tensors
        return None
    return weights[0].dtype if in_one_pass(x, weights[0]) else None
