"""Examine every claim and every deliberate mistake; write docs/parity.json, docs/parity.md and README's figures.

    python scripts/parity_report.py [--allow-skips]

Takes several minutes on 2 cores. The exit code is 1 if a claim fails, a mistake is not found, or a tolerance
belongs to nothing. It is 2, and nothing is written, where something could not be examined: a report of fewer
claims would take the place of the whole one. --allow-skips writes it all the same. LIGHTNING_TL_ASSETS, where
set, names the folder of real weights.
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lightning_tl.files import write_text  # noqa: E402
from parity_tests.claim import all_claims  # noqa: E402
from parity_tests.mutants import MUTANTS  # noqa: E402
from parity_tests.report import Report, examine, to_json, to_markdown, with_summary  # noqa: E402


def main(args: Sequence[str] | None = None) -> int:
    """Examine everything and write the report; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--allow-skips", action="store_true", help="write a report that is not whole")
    options = parser.parse_args(args)
    report = examine(all_claims().values(), MUTANTS.values())
    if report.skipped and not options.allow_skips:
        print("Nothing is written, since not everything was examined (--allow-skips):", *report.skipped, sep="\n- ")
        return 2
    write(report, ROOT)
    print(*report.failures, sep="\n")
    return 1 if report.failures else 0


def write(report: Report, root: Path) -> None:
    """Write both files in ``root/docs`` and the figures of ``root/README.md``."""
    content = to_json(report)
    write_text(root / "docs" / "parity.json", json.dumps(content, indent=1) + "\n")
    write_text(root / "docs" / "parity.md", to_markdown(report))
    readme = root / "README.md"
    write_text(readme, with_summary(readme.read_text(encoding="utf-8"), content))


if __name__ == "__main__":
    # For the whole process, so not in main(), which a test calls: warnings and remarks would hide the progress.
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    sys.exit(main())
