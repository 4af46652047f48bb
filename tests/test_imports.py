"""Data flows one way: a module imports only from its left."""

import ast
from pathlib import Path

import pytest

import lightning_tl

ORDER = (
    "errors", "files", "table", "draws", "ranks", "keras_layers", "data", "augment", "batchnorm", "folding",
    "backbone", "compiled", "bridge", "weights", "optim", "phase", "schedule", "head", "classifier", "phases",
    "runfolder", "checkpoint", "saving", "logger", "evaluate", "collect", "finish", "cli",
)  # fmt: skip
PACKAGE = Path(lightning_tl.__file__).parent


def imported(path: Path) -> set[str]:
    """Names of the package's own first-level modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "lightning_tl":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lightning_tl."):
            names.add((node.module or "").split(".")[1])
    return names


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_import_only_from_their_left(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own.startswith("__"):
        return
    assert own in ORDER, f"{own} has no place in the order"
    right = [name for name in imported(path) if name != own and ORDER.index(name) >= ORDER.index(own)]
    assert not right, f"{path.name} imports from its right: {right}"


def test_keras_is_imported_only_where_keras_files_are_written() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "keras" for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "keras")
    }
    assert users <= {"bridge/write.py", "bridge/keras_process.py", "bridge/keras_writer.py"}, users
