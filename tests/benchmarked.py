"""scripts/benchmark.py, as tests call it, and reports of measurements that are made up."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.agreement import compare_shared, refused
from benchmarks.bench import Findings, report
from benchmarks.frameworks import CEILINGS, select
from benchmarks.machine import describe_machine
from benchmarks.prepare import Ground
from benchmarks.rounds import Group, Sample
from benchmarks.settings import PHASES, Settings

ROOT = Path(__file__).parent.parent
TINY = replace(
    Settings().quick(), image_size=64, batch_size=4, rounds=2, steps=3, skip=1, warmup=1, images=12,
    val_images=4, files=40, alpha=0.35,
)  # fmt: skip
LOSSES = [1.5, 1.4, 1.3]


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


def made_up(ours: float = 300.0, keras: float = 100.0) -> dict[str, Any]:
    """A report of images in memory as ``run`` makes it of these speeds; one that trains otherwise is refused."""
    frameworks = select(["lightning-tl float32", "keras-torch float32"])
    wrong = replace(frameworks[0], name="too fast")
    speeds = {frameworks[0].key: ours, frameworks[1].key: keras, wrong.key: 2 * ours, CEILINGS[0].key: 400.0}
    samples = {
        (phase, "resident"): {
            key: [Sample(speed + number, tuple(LOSSES), 500.0, 0.01, 0.02) for number in range(TINY.rounds)]
            for key, speed in speeds.items()
        }
        for phase in (*PHASES, "predict")
    }
    losses = {frameworks[0].key: LOSSES, frameworks[1].key: LOSSES, wrong.key: [1.5, 1.3, 1.2]}
    verdicts = [
        item for phase in PHASES for item in compare_shared(phase, losses, [frameworks[0], wrong, frameworks[1]])
    ]
    content = report(
        made_up_ground(TINY, Path()), Findings(Group(), samples), frameworks, {}, refused(verdicts), verdicts
    )
    return {"machine": describe_machine(1), "commits": ["0123abc"], **content, "seconds": 1.0}


def made_up_ground(settings: Settings, folder: Path) -> Ground:
    """Of a run that reads no file."""
    return Ground(settings, folder, folder, (), folder, {"images": "drawn", "weights": "random", "weights_sha256": "0"})
