"""No comparison passes on numbers that are none, or on shapes that only broadcast."""

from collections.abc import Callable

import numpy as np
import pytest

from parity_tests.compare import absolute, distance, relative, share

PICTURES = np.arange(24.0).reshape(2, 2, 2, 3)


def pixels(ours: np.ndarray, theirs: np.ndarray) -> float:
    return share(ours, theirs, 1e-3)


@pytest.mark.parametrize("error", [absolute, relative, distance, pixels])
def test_what_cannot_be_compared_is_infinitely_far(error: Callable[[np.ndarray, np.ndarray], float]) -> None:
    assert error(PICTURES, PICTURES) == 0
    assert error(PICTURES[:1], PICTURES) == np.inf
    assert error(PICTURES, PICTURES[..., :1]) == np.inf
    assert error(np.full_like(PICTURES, np.nan), PICTURES) == np.inf
    assert error(PICTURES, np.where(PICTURES == 5, np.inf, PICTURES)) == np.inf


def test_share_counts_pixels_not_numbers() -> None:
    other = PICTURES.copy()
    other[0, 0, 0] += 1.0
    other[1, 1, 1, 2] += 1e-4
    assert share(PICTURES, other, 1e-3) == 1 / 8
