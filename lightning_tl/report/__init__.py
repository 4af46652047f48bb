"""One HTML file about one run folder or several; it reads files, not models, and needs no torch."""

from lightning_tl.report.page import write_report
from lightning_tl.report.run import Run, read_run

__all__ = ["Run", "read_run", "write_report"]
