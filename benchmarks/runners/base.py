"""What every runner can be asked."""

from typing import Any

from benchmarks.device import CPU, Device
from benchmarks.meter import Meter


class NotOfferedError(Exception):
    """The framework does not have what was asked for, which is no failure."""


class Base:
    """A framework's answers; raises NotOfferedError where it has none.

    Attributes:
        device: that it computes on.
    """

    device: Device = CPU

    def train(self, phase: str, source: str, meter: Meter) -> None:
        """Train ``head`` or ``finetune`` on images ``resident`` or in ``files`` until the meter ends it.

        From the initial weights; resident batches come in their order, again and again.
        """
        raise NotOfferedError("this measure")

    def evaluate(self, what: str, source: str, batches: int, meter: Meter) -> None:
        """``predict`` or ``validate`` so many batches."""
        raise NotOfferedError("this measure")

    def losses(self, phase: str, steps: int) -> list[float]:
        """Losses of the first steps with draws, order and resampling that all who can do so share."""
        raise NotOfferedError("random draws cannot be given from outside")

    def reach(self, accuracy: float, epochs: int) -> dict[str, Any]:
        """Train both phases, each at most so many epochs, until held-out images are classified well enough.

        Returns:
            ``reached``, ``accuracy``, ``seconds`` (validation and compilation included) and ``images``.
        """
        raise NotOfferedError("time to an accuracy")
