"""Programs for frozen blocks: made when first needed, proven, and kept for as long as the blocks stay what they are."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from lightning_tl.foldable import PROOF_TOLERANCE
from lightning_tl.folding import Folded
from lightning_tl.openvino_program import Program, UnsupportedError

Key = tuple[int, ...]
"""First child, the one after the last, channels, height and width of what goes in, threads."""


class Programs:
    """The programs of one ``nn.Sequential``'s children. Copies and files of it have none, and make their own."""

    def __init__(self) -> None:
        self._made: dict[Key, tuple[tuple[Folded | None, ...], Program | None]] = {}

    def __deepcopy__(self, memo: object) -> "Programs":
        return Programs()

    def __reduce__(self) -> tuple[type["Programs"], tuple[()]]:
        return Programs, ()

    def find(
        self,
        first: int,
        modules: Sequence[nn.Module],
        folded: tuple[Folded | None, ...],
        x: Tensor,
        plainly: Callable[[Tensor], Tensor],
    ) -> Program | None:
        """The program for these children and feature maps such as ``x``; None where there cannot be one.

        Args:
            first: which child the first of ``modules`` is.
            modules: children, one after the other.
            folded: all that they compute, as it is now.
            x: (batch, channels, height, width) that goes into the first.
            plainly: computes what they do, without a program.
        """
        last = first + len(modules)
        key = (first, last, *x.shape[1:], torch.get_num_threads())
        made_from, program = self._made.get(key, ((), None))
        if key not in self._made or any(old is not new for old, new in zip(made_from, folded, strict=True)):
            # Those of another phase, which had fewer or more children, hold memory.
            apart = {k: kept for k, kept in self._made.items() if k[:2] == key[:2] or k[1] <= first or k[0] >= last}
            self._made = {**apart, key: (folded, _proven(modules, x, plainly))}
            program = self._made[key][1]
        return program


@torch.no_grad()
def _proven(modules: Sequence[nn.Module], x: Tensor, plainly: Callable[[Tensor], Tensor]) -> Program | None:
    """A program that computes of the first image what the modules do."""
    image = x[:1].detach()
    wanted = plainly(image)
    try:
        program = Program(modules, x.shape[1:], torch.get_num_threads())
        difference = (program(image) - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(x.dtype).tiny)
    except UnsupportedError:
        return None
    except (ImportError, RuntimeError) as error:
        _tell(" ".join(str(error).split()))
        return None
    return program if float(difference) < PROOF_TOLERANCE else None


@cache  # once for all that fail alike
def _tell(error: str) -> None:
    warnings.warn(f"openvino: not used, since it failed: {error} Set model.openvino to false.", stacklevel=2)
