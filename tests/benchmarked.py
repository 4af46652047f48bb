"""scripts/benchmark.py, as tests call it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent


def command() -> ModuleType:
    """scripts/benchmark.py as a module."""
    spec = importlib.util.spec_from_file_location("benchmark_command", ROOT / "scripts" / "benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module
