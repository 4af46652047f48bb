"""The blocks of a network that are convolutions alone, in oneDNN's memory layout for as long as they are folded."""

from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from lightning_tl.blocked import to_blocked, to_plain
from lightning_tl.foldable import proof_tolerance
from lightning_tl.folding import Folded, Pair, has_plain_padding
from lightning_tl.plainly import as_folded, plainly
from lightning_tl.relu6 import in_one_pass
from lightning_tl.watching import is_watched


class Block(NamedTuple):
    """A child of ``FrozenBlocks`` that is made of folded convolutions alone, in the end.

    Attributes:
        pairs: all that it has.
        modules: itself and all in it.
    """

    pairs: tuple[Pair, ...]
    modules: tuple[nn.Module, ...]

    def computes_in(self, x: Tensor) -> torch.dtype | None:
        """The type of its numbers in that layout, given ``x``; None where it cannot be: something of it trains."""
        for pair in self.pairs:
            if pair.conv.folded is None:
                return None
        if any(is_watched(module) for module in self.modules):  # by what expects plain tensors
            return None
        weight = cast(Folded, self.pairs[0].conv.folded).weight
        return weight.dtype if in_one_pass(x, weight) else None


class FrozenBlocks(nn.Sequential):
    """``nn.Sequential`` that hands feature maps from one folded block to the next in the layout of ``blocked``.

    Attributes:
        blocks: the children, in order; None for one that is something else.
    """

    blocks: tuple[Block | None, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Sequential``."""
        if input.device.type != "cpu" or plainly():
            return super().forward(input)  # type: ignore[no-untyped-call, no-any-return]
        x = input
        for module, block in zip(self, chain(self.blocks, repeat(None)), strict=False):  # more may have been appended
            dtype = None if block is None or block.modules[0] is not module else block.computes_in(x)
            x = module(to_plain(x) if dtype is None else to_blocked(x, dtype))
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
    found = {module: _blocks_of(module, pairs) for module in net.modules() if type(module) is nn.Sequential}
    found = {module: of for module, of in found.items() if any(of)}
    if not found:
        return
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0), device="cpu").to(
        next(net.parameters())
    )
    with torch.no_grad(), as_folded():
        plain = features(image)
        for module, of in found.items():
            module.__class__ = FrozenBlocks
            cast(FrozenBlocks, module).blocks = of
        if not _agrees(features, image, plain):
            for module in found:
                module.__class__ = nn.Sequential


def _agrees(features: Callable[[Tensor], Tensor], image: Tensor, plain: Tensor) -> bool:
    try:
        difference = (features(image) - plain).abs().max() / plain.abs().max()
    except RuntimeError:  # an operation that this layout does not have
        return False
    return bool(difference < proof_tolerance(image))


def _blocks_of(parent: nn.Sequential, pairs: Sequence[Pair]) -> tuple[Block | None, ...]:
    """See ``FrozenBlocks.blocks``; empty where some children are single layers and no blocks."""
    children = [tuple(child.modules()) for child in parent]
    if any(len(modules) == 1 for modules in children):
        return ()
    return tuple(_block(modules, [pair for pair in pairs if pair.conv in modules]) for modules in children)


def _block(modules: tuple[nn.Module, ...], pairs: Sequence[Pair]) -> Block | None:
    """What the modules are, with these pairs among them."""
    folded = {module for pair in pairs for module in pair if module is not None}
    layers = [module for module in modules if not list(module.children())]
    if not all(layer in folded or isinstance(layer, nn.Identity) for layer in layers):
        return None
    return Block(tuple(pairs), modules) if pairs and all(has_plain_padding(pair.conv) for pair in pairs) else None
