"""The command ``lightning-tl report``."""

from collections.abc import Sequence

from lightning_tl.errors import printable
from lightning_tl.option_errors import OptionParser
from lightning_tl.report.page import write_report


def main(args: Sequence[str] | None = None) -> int:
    """Write the page and print where it is; returns the exit status. Raises InputError for bad input."""
    parser = OptionParser(
        prog="lightning-tl report",
        description="One HTML file about one run, or several side by side; it opens from disk and needs no network.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder of lightning-tl fit or python -m keras_ref fit"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="default: report.html in the run folder; for several runs comparison.html in the first's",
    )
    options = parser.parse_args(args)
    print(f"report: {printable(str(write_report(options.runs, options.output)))}")
    return 0
