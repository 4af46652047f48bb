"""How much an exported file may differ from the checkpoint: one table, each entry with its reason.

Logits are measured relative to the largest of them, since rounding grows with what is added up; probabilities, which
are in [0, 1], as they are.
"""

from typing import NamedTuple


class Tolerance(NamedTuple):
    """The largest error allowed, and why it is that large."""

    value: float
    reason: str


_ORDER = "convolutions add up float32 in another order; a wrong layer moves everything"
_SAME = "the same kernels of torch on BatchNorm that is not folded, which rounds at other places"

TOLERANCES = {
    ("onnx", "logits"): Tolerance(2e-5, _ORDER),
    ("onnx", "probabilities"): Tolerance(2e-5, _ORDER),
    ("int8", "logits"): Tolerance(1e-5, "the same runtime in another process; a step of eight bits would show"),
    ("pt2", "logits"): Tolerance(2e-5, _SAME),
    ("pt2", "probabilities"): Tolerance(2e-5, _SAME),
    ("keras", "probabilities"): Tolerance(2e-5, _ORDER + "; scaling is a multiplication there"),
    ("safetensors", "logits"): Tolerance(2e-5, _SAME),
    ("safetensors", "probabilities"): Tolerance(2e-5, _SAME),
}
"""By format and output. An int8 file is held to itself in the process that measured its accuracy."""

INT8_ACCURACY = Tolerance(
    0.05, "MobileNetV2 loses 0.01 on photographs of flowers; more says that the network or the calibration is unfit"
)
"""The fall in accuracy from which the command warns; it is no reason to refuse the file."""
