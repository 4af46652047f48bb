"""Data flows one way: a module imports only from its left."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import lightning_tl

ORDER = (
    "importing", "errors", "values", "option_errors", "files", "locking", "caches", "table", "draws", "ranks",
    "keras_layers", "memory", "cuda_graph",
    "data", "augment", "plainly", "batchnorm", "padding", "timm_network", "network", "relu6", "blocked",
    "triton_kernels", "fused_conv",
    "fingerprint", "watching", "folding", "chain", "foldable", "frozen_blocks", "onednn_graph", "frozen_graph",
    "backbone", "compiled", "bridge", "weights", "pretrained", "optim", "phase", "schedule", "head", "precision",
    "stage_metrics", "step_graph", "feature_cache", "sigterm", "runfolder", "best_checkpoint", "saving", "resuming",
    "same_run", "batch_checks", "trainer_checks", "steps", "classifier",
    "devices", "recorder", "plan", "stopping", "best_weights", "phases", "progress", "runfiles", "checkpoint", "logger",
    "evaluate", "collect", "choice", "gradcam", "thumbnail", "pictures", "finish", "predict", "report", "export",
    "split_of_run", "config_files", "whole_lists", "arguments", "cli", "completion", "kept_help", "command",
)  # fmt: skip
PACKAGE = Path(lightning_tl.__file__).parent
ROOT = PACKAGE.parent
MODULE_OF = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn", "tensorflow-cpu": "tensorflow"}


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
    assert users == {"bridge/keras_process.py"}


def declared() -> dict[str, list[str]]:
    """Names of pyproject's dependencies, lower case, by extra; those of the package itself under ``core``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"core": project["dependencies"], **project["optional-dependencies"]}
    names = {
        extra: [re.split(r"[\[<>=~!; ]", entry)[0].lower() for entry in entries] for extra, entries in lists.items()
    }
    return {extra: [name for name in found if name != "lightning-tl"] for extra, found in names.items()}


@pytest.mark.parametrize("package", ["lightning_tl", "keras_ref"])
def test_what_is_imported_is_declared(package: str) -> None:
    """What another dependency happens to bring along can go away with its next release.

    Triton is torch's, which asks for one version where there is any, and lightning_tl does without where there is none.
    """
    nodes = [node for path in (ROOT / package).rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    foreign = {name.split(".")[0] for name in named} - set(sys.stdlib_module_names) - {"lightning_tl", "keras_ref"}
    extras = declared()
    known = {
        MODULE_OF.get(name, name)
        for extra in ("core", "demo", "jax", "tensorflow", "export", "parquet")
        for name in extras[extra]
    }
    assert foreign - {"triton"} <= known


def test_every_dependency_is_pinned() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in pins)
    wanted = {name for names in declared().values() for name in names}
    assert {pin.partition("==")[0].lower() for pin in pins} == wanted
