"""Examine every claim and every deliberate mistake; write docs/parity.json, docs/parity.md and README's figures.

    python scripts/parity_report.py

Takes several minutes on 2 cores. The exit code is 1 if a claim fails, a mistake is not found, or a tolerance
belongs to nothing. LIGHTNING_TL_ASSETS, where set, names the folder of real weights.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lightning_tl.files import write_text  # noqa: E402
from parity_tests.claim import all_claims  # noqa: E402
from parity_tests.mutants import MUTANTS  # noqa: E402
from parity_tests.report import examine, to_json, to_markdown, with_summary  # noqa: E402


def main() -> int:
    """Write the report; the exit code."""
    warnings.simplefilter("ignore")  # the tests turn them into errors; here they would hide the progress
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    report = examine(all_claims().values(), MUTANTS.values())
    content = to_json(report)
    write_text(ROOT / "docs" / "parity.json", json.dumps(content, indent=1) + "\n")
    write_text(ROOT / "docs" / "parity.md", to_markdown(report))
    readme = ROOT / "README.md"
    write_text(readme, with_summary(readme.read_text(encoding="utf-8"), content))
    print(*report.failures, sep="\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
