"""Run docs/guide.ipynb and keep what its cells print and show, without remarks on standard error.

python scripts/run_guide.py      # after the guide has changed
"""

import os
import sys
from pathlib import Path

import nbclient
import nbformat

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide.ipynb"


def main() -> int:
    """Run every cell from the beginning; returns the exit status."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the outputs of any machine
    notebook = nbformat.read(GUIDE, as_version=4)
    resources = {"metadata": {"path": str(GUIDE.parent)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, GUIDE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
