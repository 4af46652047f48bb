"""What the tests of whole runs share."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from parity_tests.processes import BACKENDS, installed_backends

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def study() -> ModuleType:
    """scripts/accuracy_study.py as a module."""
    spec = importlib.util.spec_from_file_location("accuracy_study", ROOT / "scripts" / "accuracy_study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == "torch" else [pytest.mark.slow]) for name in BACKENDS],
)
def keras_backend(request: pytest.FixtureRequest) -> str:
    """Each backend of Keras for a whole run: torch always, the others as slow tests."""
    name = str(request.param)
    if name not in installed_backends():
        pytest.skip(f"{name} is not installed")
    return name
