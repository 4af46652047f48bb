"""Imports that take seconds, without looking for garbage in what stays until the process ends.

While torch and Lightning are imported, Python goes through all that they define over and over, and through all of it
again, a quarter of a second each time, whenever a run has made many objects of its own.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


def import_uncollected(name: str) -> ModuleType:
    """The module ``name``."""
    with uncollected():
        return import_module(name)


def import_for_good(name: str) -> ModuleType:
    """The module ``name``, for which this process was started: garbage is never looked for in what it defines.

    Nor in what else there is by then, so this is for processes of our own, and before they have done anything.
    """
    with uncollected():
        module = import_module(name)
        gc.freeze()
    atexit.register(gc.unfreeze)  # so that all of it is taken down in the end; triton would tell of leaks otherwise
    return module


@contextmanager
def uncollected() -> Iterator[None]:
    """Do not look for garbage until the block ends."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
