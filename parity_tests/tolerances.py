"""How much ours may differ from theirs: one table, each entry with its reason.

Keys, the most specific one counting: ``claim:variant/dtype/backend``, ``claim:variant/dtype``,
``claim:variant``, ``claim/dtype/backend``, ``claim/dtype``, ``claim``.
"""

from typing import NamedTuple

from parity_tests.tolerances_data import TOLERANCES_DATA


class Tolerance(NamedTuple):
    """The largest error allowed, and why it is that large."""

    value: float
    reason: str


_SUMMATION = "52 convolutions round to 2^-24 in different orders of summation"
_REAL = (
    "on these weights Keras' float32 is up to 3.8e-6 from its own float64 (tensorflow, 97x129), ours up to 3.5e-6 "
    "(224x224), each to a side of its own: 7.3e-6, and a third more for other processors' order of summation"
)
_ROUNDING = "rounding of float64 alone: every constant is the same on both sides"

_MODEL: dict[str, tuple[float, str]] = {
    "forward/float32": (5e-6, _SUMMATION),
    "forward/float64": (1e-12, _ROUNDING),
    "forward-large/float32": (5e-6, _SUMMATION),
    "forward-large/float64": (1e-12, _ROUNDING),
    "forward-real/float32": (1e-5, _REAL),
    "forward-real/float64": (1e-12, _ROUNDING),
    "forward-graph:batches without a graph": (0.0, "every network and phase has one"),
    "forward-graph": (5e-6, _SUMMATION),
    "forward-graph-real:batches without a graph": (0.0, "every network and phase has one"),
    "forward-graph-real": (1e-5, _REAL),
    "forward-stock": (5e-6, "Keras' result_type makes float32 of float64, so its BatchNorm computes in float32"),
    "forward-stock/float64-stock/tensorflow": (1e-12, "TensorFlow's result_type keeps float64"),
    "stages/float32": (2e-5, "sums that cancel leave small outputs: more digits go than in the features at the end"),
    "stages/float64": (1e-12, _ROUNDING),
    "gradients/float32": (1e-5, _SUMMATION + ", forward and back"),
    "gradients/float64": (1e-10, _ROUNDING),
    "batchnorm-still": (0.0, "nothing may write to them"),
    "batchnorm-constants": (1e-15, "momentum is one minus the other's: one rounding"),
    "trainable-sets": (0.0, "sets are equal or not"),
    "loss/float32": (2e-6, "softmax and logarithm in float32"),
    "loss/float64": (1e-12, _ROUNDING),
    "loss-saturated/float32": (2e-6, "softmax and logarithm in float32"),
    "loss-saturated/float64": (1e-12, _ROUNDING),
    "adam/float32": (1e-5, "a hundred steps summed in float32"),
    "adam/float64": (1e-12, _ROUNDING + "; the float32 bias correction on tensorflow is mirrored"),
    "dropout/float32": (2e-7, "one multiplication or division by 0.8"),
    "dropout/float64": (1e-15, "one multiplication or division by 0.8"),
    "initial-head:distribution": (1.95, "the distance exceeded once in a thousand samples of one distribution"),
    "initial-head:limit": (1e-3, "of 71680 uniform numbers the largest is this near the end of the range"),
    "initial-head:bias": (0.0, "zero is zero"),
    "initial-head:shared numbers": (0.0, "the same integers from the same hash"),
    "trajectory/float32": (1e-5, "a hundred steps on gradients rounded to 2^-24"),
    "trajectory/float64": (1e-9, "rounding of float64; Keras' float32 bias correction on tensorflow is mirrored"),
    "trajectory-timm/float32": (1e-5, "as for trajectory"),
    "trajectory-timm/float64": (1e-9, "as for trajectory"),
    "trajectory-real/float32": (1e-5, "as for trajectory"),
    "trajectory-real/float64": (1e-9, "as for trajectory"),
    "graph-of-each-phase": (0.0, "every phase has one"),
    "trajectory-graph": (1e-5, "as for trajectory"),
    "trajectory-augmented": (1e-9, "rounding of float64; Keras' float32 zoom matrices are mirrored"),
}

TOLERANCES = {key: Tolerance(*entry) for key, entry in {**_MODEL, **TOLERANCES_DATA}.items()}


def find_key(claim: str, variant: str, dtype: str, backend: str) -> str:
    """The most specific key of the table.

    Raises:
        KeyError: the table has nothing for this claim.
    """
    heads = [f"{claim}:{variant}", claim] if variant else [claim]
    keys = [f"{head}{tail}" for head in heads for tail in (f"/{dtype}/{backend}", f"/{dtype}", "")]
    found = next((key for key in keys if key in TOLERANCES), None)
    if found is None:
        raise KeyError(f"tolerances.py has none of {', '.join(keys)}")
    return found
