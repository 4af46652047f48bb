"""What is known of an exported file: how it was compared, and what quantising did to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_tl.export.tolerances import Tolerance


@dataclass(frozen=True)
class Check:
    """One output of one runtime compared with the checkpoint.

    Attributes:
        runtime: name and versions.
        output: logits or probabilities.
        images: how many.
        error: the largest; of logits relative to the largest of them.
        tolerance: of the table.
        image: name of the image that it is at.
    """

    runtime: str
    output: str
    images: int
    error: float
    tolerance: Tolerance
    image: str


@dataclass(frozen=True)
class Int8:
    """What quantising did.

    Attributes:
        calibration: which images the ranges are from.
        held_out: which images accuracy was measured on.
        before: accuracy of the float32 file, in [0, 1].
        after: accuracy of the int8 file.
        agreement: share of images that both give the same class.
        float_bytes: size of the float32 file.
        int8_bytes: size of the int8 file.
    """

    calibration: str
    held_out: str
    before: float
    after: float
    agreement: float
    float_bytes: int
    int8_bytes: int

    @property
    def fall(self) -> float:
        """In accuracy; below zero where int8 is better."""
        return self.before - self.after


@dataclass(frozen=True)
class Exported:
    """A file that was written and has passed.

    Attributes:
        name: of the file.
        sha256: of the file.
        size: in bytes.
        checks: how it was compared.
        int8: what quantising did; None for float32.
    """

    name: str
    sha256: str
    size: int
    checks: Sequence[Check]
    int8: Int8 | None = None
