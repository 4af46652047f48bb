"""Random numbers as a pure function of (seed, stream, epoch, sample index, draw): no generator state.

The definition is in docs/randomness.md; keras_ref/draws.py is the same file in NumPy.
"""

import torch
from torch import Tensor

ORDER, DROPOUT, AUGMENT, HEAD = 0, 1, 2, 1_000_000
"""Streams: an epoch's order, dropout masks, AUGMENT + i for the i-th augmentation, initial head weights."""

GOLDEN = 0x9E3779B97F4A7C15
"""SplitMix64's increment, 2**64 / golden ratio (Steele, Lea, Flood: Fast Splittable PRNGs, OOPSLA 2014)."""
_M1, _M2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def stream_key(seed: int, stream: int, epoch: int) -> int:
    """Key of one stream in one epoch: an int64 (two's complement), from any non-negative integers."""
    key = 0
    for word in (seed, stream, epoch):
        key = _mix_int(key + GOLDEN * (word + 1))
    return _signed(key)


def uniforms(key: int | Tensor, index: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1), multiples of 2**-24, so the same in float32 and float64.

    Args:
        key: from ``stream_key``, an int or an int64 tensor, of shape () or, for several streams, (streams, 1).
        index: sample indices, int64, shape (batch,).
        count: numbers per sample.

    Returns:
        float32, shape (batch, count) or (streams, batch, count), on the device of ``index``.
    """
    draw = torch.arange(count, device=index.device)
    bits = _fold(_fold(key, index)[..., None], draw)
    return _shift(bits, 40).to(torch.float32) * 2.0**-24


def epoch_order(seed: int, epoch: int, index: Tensor) -> Tensor:
    """The sample indices of one epoch, shuffled: sorted by 63 bits of their own hash, ties by position.

    Args:
        seed: of the run.
        epoch: counted from 0 over all phases.
        index: int64, shape (samples,).

    Returns:
        The same indices in training order, int64, shape (samples,).
    """
    ranks = _shift(_fold(stream_key(seed, ORDER, epoch), index), 1)
    return index[torch.argsort(ranks, stable=True)]


def _fold(key: int | Tensor, word: Tensor) -> Tensor:
    """The (word+1)-th output of SplitMix64 started at ``key``."""
    return _mix(key + (word.to(torch.int64) + 1) * _signed(GOLDEN))  # int32 would wrap too early


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 products wrap modulo 2**64."""
    z = (z ^ _shift(z, 30)) * _signed(_M1)
    z = (z ^ _shift(z, 27)) * _signed(_M2)
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix_int(z: int) -> int:
    z &= _MASK
    z = ((z ^ (z >> 30)) * _M1) & _MASK
    z = ((z ^ (z >> 27)) * _M2) & _MASK
    return z ^ (z >> 31)


def _signed(z: int) -> int:
    return z - (1 << 64) if z >> 63 else z
