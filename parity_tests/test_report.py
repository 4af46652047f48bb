"""The report: what it says, and that the README says the same."""

import json
from pathlib import Path

from parity_tests.claim import Result
from parity_tests.report import MARKER, Report, summary, to_json, to_markdown, unused_tolerances, with_summary

ROOT = Path(__file__).resolve().parents[1]
GOOD = Result("adam", "lr 0.001", "jax", "float64", 2e-16, 1e-12, "because")
BAD = Result("dropout", "", "torch", "float32", 1.0, 1e-6, "because")


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


def test_unused_tolerances_are_found() -> None:
    assert "adam/float64" not in unused_tolerances([GOOD])
    assert "adam/float32" in unused_tolerances([GOOD])


def test_summary_replaces_the_paragraph_between_markers() -> None:
    content = to_json(Report([GOOD], {}))
    text = with_summary(f"a\n{MARKER}\nold\n{MARKER}\nb", content)
    assert text == f"a\n{MARKER}\n{summary(content)}\n{MARKER}\nb"


def test_readme_has_the_figures_of_the_report() -> None:
    file = ROOT / "docs" / "parity.json"
    assert file.exists(), "docs/parity.json is committed: run scripts/parity_report.py"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert MARKER in readme, "README shows no figures of docs/parity.json"
    assert with_summary(readme, json.loads(file.read_text(encoding="utf-8"))) == readme
