"""TensorBoard events. differs: in lightning_tl Lightning's TensorBoardLogger writes them."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

# TensorBoard imports TensorFlow wherever it is installed; this module is its own switch for using its stub instead.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))

from tensorboard.compat.proto.event_pb2 import Event  # noqa: E402
from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: E402
from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: E402


class Events:
    """The event file of a run.

    Args:
        run_folder: where.
    """

    def __init__(self, run_folder: Path) -> None:
        self._writer = EventFileWriter(str(run_folder))

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars by name, of the optimizer step ``step``, to the disk."""
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items() if name != "step"]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))
        self._writer.flush()
