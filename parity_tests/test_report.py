"""The report: what it says, and that the README says the same."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from parity_tests.claim import Result, all_claims
from parity_tests.mutants import MUTANTS
from parity_tests.processes import BACKENDS
from parity_tests.report import (
    MARKER,
    PACKAGES,
    Report,
    summary,
    to_json,
    to_markdown,
    unused_tolerances,
    with_summary,
)

ROOT = Path(__file__).resolve().parents[1]
GOOD = Result("adam", "lr 0.001", "jax", "float64", 2e-16, 1e-12, "because")
BAD = Result("dropout", "", "torch", "float32", 1.0, 1e-6, "because")


@pytest.fixture
def script(tmp_path: Path) -> ModuleType:
    """scripts/parity_report.py, writing to a folder of the test's."""
    spec = importlib.util.spec_from_file_location("parity_report", ROOT / "scripts" / "parity_report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT = tmp_path  # type: ignore[attr-defined]
    (tmp_path / "README.md").write_text(f"{MARKER}\nwhole\n{MARKER}\n")
    return module


@pytest.fixture
def content() -> dict[str, Any]:
    """docs/parity.json."""
    file = ROOT / "docs" / "parity.json"
    assert file.exists(), "docs/parity.json is committed: run scripts/parity_report.py"
    return json.loads(file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("options", "report", "code"),
    [
        ([], Report([GOOD], skipped=["jax: not here"]), 2),
        (["--allow-skips"], Report([GOOD], skipped=["jax: not here"]), 0),
        (["--allow-skips"], Report([BAD], skipped=["jax: not here"]), 1),
        ([], Report([GOOD, BAD]), 1),
    ],
)
def test_a_report_with_gaps_replaces_no_whole_one(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], report: Report, code: int
) -> None:
    monkeypatch.setattr(script, "examine", lambda claims, mutants: report)
    assert script.main(options) == code
    assert (tmp_path / "docs" / "parity.json").exists() == (tmp_path / "docs" / "parity.md").exists() == (code != 2)
    assert ("whole" in (tmp_path / "README.md").read_text()) == (code == 2)


def test_the_committed_report_is_whole(content: dict[str, Any]) -> None:
    assert content["skipped"] == []
    assert all(row["passed"] for row in content["claims"])
    assert {row["backend"] for row in content["claims"]} == set(BACKENDS)
    assert len(all_claims()) >= 40
    expected = {(item.id, b, d) for item in all_claims().values() for b in item.backends for d in item.dtypes}
    assert {(row["claim"].partition(":")[0], row["backend"], row["dtype"]) for row in content["claims"]} == expected
    assert {row["mutant"]: tuple(row["killed_by"]) for row in content["mutants"]} == {
        name: mutant.killers for name, mutant in MUTANTS.items()
    }


def test_the_committed_report_is_of_the_pinned_versions(content: dict[str, Any]) -> None:
    pins = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert content["versions"] == {package: pins[package] for package in PACKAGES}


def test_failures_are_claims_and_survivors() -> None:
    report = Report([GOOD, BAD], {"last 19": [], "last 21": ["trainable-sets"]}, skipped=["something"])
    assert report.failures == [str(BAD), "mutant survives: last 19"]


def test_error_that_is_no_number_does_not_pass() -> None:
    assert not Result("adam", "", "jax", "float64", float("nan"), 1.0, "because").passed


def test_content() -> None:
    content = to_json(Report([GOOD, BAD], {"last 19": ["trainable-sets"]}))
    assert content["claims"][0] == {
        "claim": "adam: lr 0.001",
        "backend": "jax",
        "dtype": "float64",
        "error": 2e-16,
        "tolerance": 1e-12,
        "passed": True,
    }
    assert content["mutants"] == [{"mutant": "last 19", "killed_by": ["trainable-sets"]}]
    assert "2 claims, examined in 2 comparisons" in summary(content)
    assert "1 within tolerance" in summary(content)


def test_markdown_shows_what_differs() -> None:
    text = to_markdown(Report([GOOD, BAD], {"last 19": []}, skipped=["jax: not here"]))
    assert "| dropout |  | float32 | 1.0e+00 | n/a | n/a | 1e-06 | **DIFFERENT** | because |" in text
    assert "**nothing: it survives**" in text
    assert "- jax: not here" in text


def test_tolerances_are_shown_as_they_are_applied() -> None:
    mean = Result("load-jpeg-flowers", "mean", "torch", "float32", 1.2, 1.5, "because")
    assert "| 1.5 | equal |" in to_markdown(Report([mean], {}))
    assert str(mean).endswith("1.20e+00 of 1.5 ok")


def test_unused_tolerances_are_found() -> None:
    assert "adam/float64" not in unused_tolerances([GOOD])
    assert "adam/float32" in unused_tolerances([GOOD])


def test_summary_replaces_the_paragraph_between_markers() -> None:
    content = to_json(Report([GOOD], {}))
    text = with_summary(f"a\n{MARKER}\nold\n{MARKER}\nb", content)
    assert text == f"a\n{MARKER}\n{summary(content)}\n{MARKER}\nb"


def test_readme_has_the_figures_of_the_report(content: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert MARKER in readme, "README shows no figures of docs/parity.json"
    assert with_summary(readme, content) == readme
