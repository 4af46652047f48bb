"""What the worker itself can and cannot do."""

import time
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE

from parity_tests.jobs.model import Arrays


def precision(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """Keras' private entry for float64, and what a BatchNormalization computes in."""
    floatx = keras.config.floatx()
    output = keras.layers.BatchNormalization()(np.full((2, 3), 1 / 3, floatx))
    exact = abs(float(output[0, 0]) - (1 / 3) / np.sqrt(1 + 1e-3)) < 1e-12
    return {
        "entry": np.array(BIT64_TO_BIT32_DTYPE["float64"]),
        "floatx": np.array(floatx),
        "exact": np.array(exact),
        "backend": np.array(keras.config.backend()),
    }


def clock(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """The time, which is never the same twice."""
    return {"now": np.array(time.perf_counter_ns())}


def failing(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """Raises."""
    raise ValueError("nothing works here")


def ending(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """Ends the process."""
    raise SystemExit(3)
