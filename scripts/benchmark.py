"""Measure how fast the recipe trains and predicts, here and in Keras; write docs/benchmark.json, .md and .png.

The tables of README and docs/speed.md are written with it, from the same file. A run that is ended leaves the measures
that it has been through in benchmark.partial.json there, which --merge takes.

    python scripts/benchmark.py              # everything; hours on 2 cores, on a machine that does nothing else
    python scripts/benchmark.py --quick      # a look in five minutes, at runs/benchmark
    python scripts/benchmark.py --accelerator gpu   # on NVIDIA's, into docs/gpu

The exit code is 1 if a framework was refused because its losses disagree, 2 for bad arguments, or where nothing could
be measured, or counted: the report that is there is then left as it is.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench import MEASURES, run  # noqa: E402
from benchmarks.frameworks import FRAMEWORKS, quick, select  # noqa: E402
from benchmarks.joining import BLOCKS, NEEDED, merge, require_same_block  # noqa: E402
from benchmarks.machine import describe_machine, has_bfloat16, require_same_machine, versions  # noqa: E402
from benchmarks.plot import draw  # noqa: E402
from benchmarks.prepare import prepare  # noqa: E402
from benchmarks.report import to_markdown  # noqa: E402
from benchmarks.settings import Settings  # noqa: E402
from benchmarks.summary import with_summary  # noqa: E402
from lightning_tl.files import write_text  # noqa: E402

NUMBERS = ("rounds", "steps", "skip", "warmup", "batch_size", "image_size", "threads", "images", "val_images", "files")
"""Settings that the command line changes one by one."""
PAGES = ("README.md", "docs/speed.md")
"""Have tables of reports, each between two markers."""
PARTIAL = "benchmark.partial.json"
"""What a run that was ended has measured, beside where its report was to be."""


def main(args: Sequence[str] | None = None) -> int:
    """Measure and write; the exit code."""
    options = _parser().parse_args(args)
    of_machine = "docs/gpu" if options.accelerator == "gpu" else "docs"
    options.output = options.output or ROOT / ("runs/benchmark" if options.quick else of_machine)
    try:
        content = measure(options)
    except ValueError as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    write(content, options.output)
    (options.output / PARTIAL).unlink(missing_ok=True)
    for item in content["refused"]:
        print(f"refused: {item['framework']}: {item['reason']}", file=sys.stderr)
    return 1 if content["refused"] else 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The content of benchmark.json."""
    settings = Settings().on_a_gpu() if options.accelerator == "gpu" else Settings()
    settings = settings.quick() if options.quick else settings
    given = {name: value for name in NUMBERS if (value := getattr(options, name)) is not None}
    settings = replace(settings, **given)
    machine = describe_machine(settings.threads, settings.accelerator)  # a GPU that is not there shows now
    names = options.frameworks or (
        quick(has_bfloat16(machine)) if options.quick else [framework.name for framework in FRAMEWORKS]
    )
    frameworks = select(names)
    old, accuracy = _read(options.merge) if options.merge else None, "accuracy" in options.measures
    if old:  # before hours of measuring
        require_same_machine({"machine": machine}, old)
        require_same_block("settings", {"settings": asdict(settings)}, old, accuracy)
        require_same_block("versions", {"versions": versions()}, old, accuracy)
    if options.output.exists() and not options.output.is_dir():
        raise ValueError(f"--output: a folder is needed. Received: {options.output}.")
    unfinished = options.output / PARTIAL

    def keep(content: dict[str, Any]) -> None:
        lent = merge(content, old, accuracy) if old else content  # the old may be the very file that is written
        write_text(unfinished, json.dumps(lent, indent=1) + "\n")

    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        ground = prepare(settings, Path(folder), options.data, options.weights, "files" in options.measures)
        if old:
            require_same_block("weights", {"weights": ground.sources}, old, accuracy)
        content = run(ground, frameworks, options.measures, keep)
    if not any(content.get(block) for block in ("rows", *BLOCKS)):
        reasons = [f"{item.get('framework') or item['measure']}: {item['reason']}" for item in content["left_out"]]
        reasons += [f"{item['framework']}: {item['reason']}" for item in content["refused"]]
        raise ValueError(
            f"nothing was measured, and no report is written: {'; '.join(reasons) or 'nothing was asked'}."
        )
    return merge(content, old, accuracy) if old else content


def _read(path: Path) -> dict[str, Any]:
    """An earlier benchmark.json. Raises ValueError where it cannot be read, or is something else."""
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"--merge: a benchmark.json is needed. Received: {path} ({error}).") from error
    missing = [block for block in NEEDED if block not in content]
    if missing:
        raise ValueError(f"--merge: a benchmark.json is needed. Received: {path}, without {', '.join(missing)}.")
    return content


def write(content: dict[str, Any], folder: Path) -> None:
    """benchmark.json, .md and .png into ``folder``; the tables of this folder in the ``PAGES`` above it."""
    write_text(folder / "benchmark.json", json.dumps(content, indent=1) + "\n")
    write_text(folder / "benchmark.md", to_markdown(content))
    if content["rows"]:
        draw(content, folder / "benchmark.png")
    folder = folder.resolve()
    for root in list(folder.parents)[:2]:
        for page in (root / name for name in PAGES):
            if page.is_file() and content["rows"]:
                name = folder.relative_to(root).as_posix()
                write_text(page, with_summary(page.read_text(encoding="utf-8"), content, name))
    print(f"written: {folder / 'benchmark.json'}, .md{', .png' if content['rows'] else ''}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join(dict.fromkeys(framework.name for framework in FRAMEWORKS))
    parser.add_argument("--quick", action="store_true", help="five minutes on 2 cores: small images, few frameworks")
    parser.add_argument(
        "--frameworks", type=_names, help=f"separated by commas, each at both precisions or one ('x mixed'): {known}"
    )
    parser.add_argument(
        "--measures", type=_measures, default=MEASURES, help=f"separated by commas: {', '.join(MEASURES)}"
    )
    for name in NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"default: {getattr(Settings(), name)}")
    parser.add_argument(
        "--accelerator", default="cpu", choices=["cpu", "gpu"], help="what computes: gpu is NVIDIA's; default: cpu"
    )
    parser.add_argument("--data", type=Path, help="folder of class folders of photographs; without it they are drawn")
    parser.add_argument(
        "--weights", type=Path, help="Keras' .h5 file; default: that of LIGHTNING_TL_ASSETS, else random ones"
    )
    parser.add_argument("--merge", type=Path, help="a benchmark.json of this machine that lends what is not measured")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the report; default: docs; docs/gpu of a GPU; runs/benchmark of --quick",
    )
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _measures(text: str) -> list[str]:
    unknown = [name for name in _names(text) if name not in MEASURES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is unknown. Known: {', '.join(MEASURES)}.")
    return _names(text)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what is temporary is removed
    sys.exit(main())
