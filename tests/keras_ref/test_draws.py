"""keras_ref.draws is lightning_tl.draws to the bit."""

import numpy as np
import pytest
import torch

from keras_ref import draws as theirs
from lightning_tl import draws as ours

INDEX = np.array([0, 1, 2, 31, 4063, 2**31, 2**40], dtype=np.int64)


@pytest.mark.parametrize("seed", [0, 1, 123_456_789, 2**32 - 1])
@pytest.mark.parametrize("stream", [ours.DROPOUT, ours.AUGMENT + 3, ours.HEAD])
def test_uniforms_are_the_same_bits(seed: int, stream: int) -> None:
    expected = ours.uniforms(ours.stream_key(seed, stream, 7), torch.from_numpy(INDEX), 9).numpy()
    received = theirs.uniforms(theirs.stream_key(seed, stream, 7), INDEX, 9)
    assert received.dtype == np.float32
    np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("epoch", [0, 1, 99])
def test_an_epoch_has_the_same_order(epoch: int) -> None:
    index = np.arange(3, 1003)
    expected = ours.epoch_order(5, epoch, torch.from_numpy(index)).numpy()
    received = theirs.epoch_order(5, epoch, index)
    np.testing.assert_array_equal(received, expected)
    np.testing.assert_array_equal(np.sort(received), index)
    assert (received != index).any()


def test_streams_have_the_same_numbers() -> None:
    assert (theirs.ORDER, theirs.DROPOUT, theirs.AUGMENT, theirs.HEAD) == (
        ours.ORDER,
        ours.DROPOUT,
        ours.AUGMENT,
        ours.HEAD,
    )
