"""Counts the steps of a running fit, and holds it still between two measurements."""

import time
from collections.abc import Callable
from typing import Any, SupportsFloat

from benchmarks.device import CPU, Device
from benchmarks.memory import peak_mb

Request = dict[str, Any]


class Meter:
    """Steps of one training or prediction, measured when asked.

    A fit begins once and is measured in many rounds: after the last step of a measurement ``step`` answers and then
    waits for the next request, inside the framework's own callback, so that nothing is built or compiled twice and
    the process sits idle while another is measured. A device that computes behind its framework's back is waited for
    where a measurement begins and ends, and left alone between.

    Args:
        request: the first one: ``skip`` and ``steps``.
        answer: takes what was measured.
        receive: waits for the next request; None to end after the first measurement.
        device: that the framework computes on.
    """

    def __init__(
        self,
        request: Request,
        answer: Callable[[Request], None],
        receive: Callable[[], Request] | None = None,
        device: Device = CPU,
    ) -> None:
        self._answer, self._receive, self._device = answer, receive, device
        self.pending: Request | None = None
        self.finished = False
        self._begin(request)

    def step(self, images: int, loss: SupportsFloat | None = None) -> bool:
        """Note a step that has ended.

        Args:
            images: in its batch.
            loss: of the batch, if it is known; it is not looked at before the measurement has ended.

        Returns:
            True when the fit should end.
        """
        self._count += 1
        if self._count > self._skip:
            self._images += images
            self._losses += [] if loss is None else [loss]
        if self._count == self._skip + self._steps:
            return self._finish()
        if self._count == self._skip:
            self._device.wait()
            self._clock = time.perf_counter()
        return False

    def check(self) -> None:
        """Raise RuntimeError if the fit has ended before the measurement."""
        if not self.finished:
            raise RuntimeError(f"ended after {self._count} of {self._skip + self._steps} steps: too few images")

    def _begin(self, request: Request) -> None:
        self._skip, self._steps = int(request["skip"]), int(request["steps"])
        self._count, self._images, self.finished = 0, 0, False
        self._losses: list[SupportsFloat] = []
        self._began = self._clock = time.perf_counter()

    def _finish(self) -> bool:
        self._device.wait()
        now, self.finished = time.perf_counter(), True
        self._answer(
            {
                "seconds": now - self._clock,
                "since_request": now - self._began,
                "images": self._images,
                "losses": [float(loss) for loss in self._losses],
                "peak_memory_mb": peak_mb(),
                "peak_gpu_memory_mb": self._device.peak_mb(),
            }
        )
        if self._receive is None:
            return True
        request = self._receive()
        if request["do"] != "more":
            self.pending = request
            return True
        self._begin(request)
        return False
