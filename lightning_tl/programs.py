"""Programs for frozen blocks: made when first needed, proven, and kept for as long as the blocks stay what they are."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_tl.foldable import PROOF_TOLERANCE
from lightning_tl.folding import Folded
from lightning_tl.openvino_program import Program, UnsupportedError

Key = tuple[int, ...]
"""First child, the one after the last, channels, height and width of what goes in, threads."""


class Made(NamedTuple):
    """A program, None where there can be none, and what it was made of."""

    of: tuple[Folded | None, ...]
    program: Program | None


class Programs:
    """The programs of one ``nn.Sequential``'s children. Copies and files of it have none, and make their own."""

    def __init__(self) -> None:
        # By whether gradients are on: a phase that trains some of the blocks has one program for training and, anew
        # after every epoch, one for evaluation, so that what is evaluated is what its checkpoint computes.
        self._made: dict[bool, dict[Key, Made]] = {True: {}, False: {}}

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
        last, mode = first + len(modules), torch.is_grad_enabled()
        key = (first, last, *x.shape[1:], torch.get_num_threads())
        for kept in (self._made[mode].get(key), self._made[not mode].get(key)):
            if kept is not None and all(old is new for old, new in zip(kept.of, folded, strict=True)):
                return kept.program
        # Those of another phase, which froze fewer or more children, only hold memory.
        apart = {k: made for k, made in self._made[mode].items() if k[:2] == key[:2] or k[1] <= first or k[0] >= last}
        made = Made(folded, _proven(modules, x, plainly))
        self._made[mode] = {**apart, key: made}
        return made.program


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
