"""A limit on what all threads of a process decode at once: files of a few bytes may declare gigabytes each."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Shares a number of units between threads.

    Args:
        total: units held at once; a caller that asks for more waits until nobody else holds any.
    """

    def __init__(self, total: int) -> None:
        self._total, self._held = total, 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, units: int) -> Iterator[None]:
        """Wait for ``units`` and hold them for as long as the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + units <= self._total)
            self._held += units
        try:
            yield
        finally:
            with self._changed:
                self._held -= units
                self._changed.notify_all()
