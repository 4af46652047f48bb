"""What several processes of one run must know of each other, and the proof that they hold the same weights."""

import hashlib
import os
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor

from lightning_tl.errors import DivergenceError, InputError

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers of a number's width in bytes, to look at its bits."""


def is_first_process() -> bool:
    """Whether this process has rank 0, told from the environment, so before any process group exists.

    torchrun sets RANK, SLURM SLURM_PROCID, Lightning's own launcher LOCAL_RANK, and NODE_RANK is set by hand.
    """
    return getattr(rank_zero_only, "rank", 0) in (0, None) and os.environ.get("NODE_RANK", "0") == "0"


def gather(trainer: lightning.Trainer, tensor: Tensor) -> Tensor:
    """The rows of all ranks, in rank order: (rows, ...) to (ranks * rows, ...), on the device of ``tensor``.

    Every rank has as many rows.
    """
    if trainer.world_size == 1:
        return tensor
    gathered = trainer.strategy.all_gather(tensor.to(trainer.strategy.root_device))  # NCCL has no other device
    return gathered.flatten(0, 1).to(tensor.device)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of every rank's ``tensor``, the same on all; no gradient flows through it."""
    total = tensor.detach().clone()
    torch.distributed.all_reduce(total)
    return total


def checksum(tensor: Tensor) -> Tensor:
    """A sum over all bits of ``tensor``, int64, ().

    Each element's bits are multiplied by an odd number of its place: one changed element always shows, and
    exchanged ones do. Sums of integers do not depend on their order, so equal tensors have equal checksums on
    any device.
    """
    bits = tensor.detach().contiguous().view(BITS[tensor.element_size()]).flatten().to(torch.int64)
    return (bits * (2 * torch.arange(len(bits), device=bits.device) + 1)).sum()


def check_ranks_agree(trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
    """Stop unless all ranks hold bit for bit the same trainable weights.

    Costs one pass over the trainable weights and one exchange of 8 bytes a tensor; nothing on one rank.

    Raises:
        DivergenceError: on every rank, naming the first tensor that differs.
    """
    if trainer.world_size == 1:
        return
    trainable = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    sums = torch.stack([checksum(parameter) for parameter in trainable.values()])
    gathered = trainer.strategy.all_gather(sums)  # (ranks, tensors)
    differs = gathered.ne(gathered[0]).cpu()
    if not differs.any():
        return
    names = [name for name, bad in zip(trainable, differs.any(dim=0), strict=True) if bad]
    ranks = [str(rank) for rank, bad in enumerate(differs.any(dim=1)) if bad]
    raise DivergenceError(
        f"The ranks no longer train one model: in epoch {trainer.current_epoch}, step {trainer.global_step}, "
        f"{names[0]} ({len(names)} of {len(trainable)} trainable tensors) differs between rank 0 and rank "
        f"{', '.join(ranks)}. Something changes weights on one rank alone, or trains what was frozen when the "
        "module was wrapped."
    )


def rank_and_ranks() -> tuple[int, int]:
    """This process's rank and how many there are, once they have met; 0 of 1 where there is one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def from_first_rank(value: Any) -> Any:
    """What rank 0 calls this with, on every rank; it is pickled where there are several."""
    if rank_and_ranks()[1] == 1:
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def require_equal(what: str, of_this_rank: Iterable[str]) -> None:
    """See that all ranks have the same lines, as of images that each has found on its own disk.

    Args:
        what: they are, for the message.
        of_this_rank: its lines; hashes alone are exchanged where all have the same.

    Raises:
        InputError: on every rank, with the first line that differs.
    """
    if rank_and_ranks()[1] == 1:
        return
    lines = list(of_this_rank)
    digests = gather_values([hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()])
    if len(set(digests)) == 1:
        return
    parts = gather_values([lines])
    rank, other = next((rank, part) for rank, part in enumerate(parts) if part != parts[0])
    pairs = zip_longest(parts[0], other, fillvalue="nothing")
    first, second = next((mine, theirs) for mine, theirs in pairs if mine != theirs)
    raise InputError(
        f"{what}: every rank needs the same. Received: rank 0 has {len(parts[0])} and rank {rank} {len(other)}; the "
        f"first that differ are {first!r} and {second!r}. Give each machine the same files."
    )


def gather_values(values: list[Any]) -> list[Any]:
    """The values of all ranks, in rank order; they are pickled where there are several."""
    _, ranks = rank_and_ranks()
    if ranks == 1:
        return values
    lists: list[Any] = [None] * ranks
    torch.distributed.all_gather_object(lists, values)
    return [value for part in lists for value in part]
