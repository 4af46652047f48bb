"""The order in which pytest-xdist hands out files of tests."""

from typing import Any

from xdist.scheduler import LoadFileScheduling

LONGEST = "tests/test_benchmark_quick.py"
"""Minutes in few tests: files of many tests go first, so this one would be waited for alone in the end."""


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist's types are not exported
    """``--dist loadfile``, with the longest file first."""

    def _assign_work_unit(self, node: Any) -> None:
        if LONGEST in self.workqueue:
            self.workqueue.move_to_end(LONGEST, last=False)
        super()._assign_work_unit(node)
