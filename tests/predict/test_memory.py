"""Memory does not grow with the number of paths; ``scripts/predict_memory.py`` shows it for 100,000."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "predict_memory.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def script() -> Any:
    spec = importlib.util.spec_from_file_location("predict_memory", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(module: Any, paths: int, output: str, limit: float) -> None:
    found = module.measure(paths, output, workers=1)
    assert found["growth_mb"] < limit, found
    assert found["workers_growth_mb"] < max(limit, module.WORKERS_LIMIT), found


def test_ten_thousand_paths() -> None:
    """Small images kept by mistake would be 25 MB; what comes and goes with a batch is 10 MB."""
    check(script(), 10_000, "x.csv", limit=12)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["x.jsonl", "x.parquet"])
def test_a_hundred_thousand_paths(output: str) -> None:
    module = script()
    check(module, 100_000, output, module.LIMIT)


def test_growth_would_be_seen() -> None:
    samples = [(0, 900.0, 0.0), *((paths, 400 + paths / 1000, 90.0) for paths in range(1000, 20_001, 1000))]
    found = script().compare(samples, 20_000)
    assert (found["growth_mb"], found["workers_growth_mb"], found["process_peak_mb"]) == (17, 0, 420)
    with pytest.raises(SystemExit, match="too few samples"):
        script().compare(samples[:2], 20_000)
