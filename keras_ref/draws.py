"""Random numbers as a pure function of (seed, stream, epoch, sample index, draw): no generator state.

The definition is in docs/randomness.md; lightning_tl/draws.py is the same file in torch.
"""

import numpy as np
from numpy.typing import NDArray

ORDER, DROPOUT, AUGMENT = 0, 1, 2
"""Streams: the order of an epoch, dropout masks, and AUGMENT + i for the i-th augmentation in the list."""
HEAD = 1_000_000
"""Stream of the head's initial weights: index is the class, draw the feature."""

GOLDEN = 0x9E3779B97F4A7C15
"""SplitMix64's increment, 2**64 / golden ratio (Steele, Lea, Flood: Fast Splittable PRNGs, OOPSLA 2014)."""
_M1, _M2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def stream_key(seed: int, stream: int, epoch: int) -> int:
    """Key of one stream in one epoch, from any non-negative integers.

    differs: in [0, 2**64), where torch, which has no unsigned arithmetic, keeps the same bits as an int64.
    """
    key = 0
    for word in (seed, stream, epoch):
        key = _mix_int(key + GOLDEN * (word + 1))
    return key


def uniforms(key: int, index: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1), multiples of 2**-24, so the same in float32 and float64.

    Args:
        key: from ``stream_key``.
        index: sample indices, shape (batch,).
        count: numbers per sample.

    Returns:
        float32, shape (batch, count).
    """
    draw = np.arange(count)
    bits = _fold(_fold(np.uint64(key), index)[:, None], draw)
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def epoch_order(seed: int, epoch: int, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sample indices of one epoch, shuffled: sorted by 63 bits of their own hash, ties by position.

    Args:
        seed: of the run.
        epoch: counted from 0.
        index: shape (samples,).

    Returns:
        The same indices in training order, shape (samples,).
    """
    ranks = _fold(np.uint64(stream_key(seed, ORDER, epoch)), index) >> np.uint64(1)
    return index[np.argsort(ranks, stable=True)]


def _fold(key: np.uint64 | NDArray[np.uint64], word: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The (word+1)-th output of SplitMix64 started at ``key``."""
    return _mix(key + (word.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN))


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser; uint64 products wrap modulo 2**64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_M1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_M2)
    return z ^ (z >> np.uint64(31))


def _mix_int(z: int) -> int:
    z &= _MASK
    z = ((z ^ (z >> 30)) * _M1) & _MASK
    z = ((z ^ (z >> 27)) * _M2) & _MASK
    return z ^ (z >> 31)
