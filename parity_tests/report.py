"""What all claims and mutants came to, as docs/parity.json, docs/parity.md and a paragraph of the README."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from parity_tests.claim import Claim, Result, Skipped, all_claims, check
from parity_tests.mutants import MUTANTS, Mutant, killed_by
from parity_tests.processes import BACKENDS, installed_backends
from parity_tests.tolerances import TOLERANCES, find_key

PACKAGES = ("keras", "torch", "torchvision", "lightning", "timm", "jax", "tensorflow-cpu", "numpy")
MARKER = "<!-- parity:summary -->"
"""Stands before and after the README's paragraph."""


@dataclass
class Report:
    """Everything that was examined.

    Attributes:
        results: of the claims.
        killed: mutant name to the claims that failed under it.
        skipped: what could not be examined, and why.
        broken: claims and mutants whose comparison raised, as ``claim (backend, dtype): error``.
    """

    results: list[Result] = field(default_factory=list)
    killed: dict[str, list[str]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """What must make the report fail, a line each."""
        failed = [str(result) for result in self.results if not result.passed]
        survived = [f"mutant survives: {name}" for name, killers in self.killed.items() if not killers]
        unused = [] if self.skipped else [f"tolerance unused: {key}" for key in unused_tolerances(self.results)]
        return [*failed, *self.broken, *survived, *unused]


def examine(claims: Iterable[Claim], mutants: Iterable[Mutant]) -> Report:
    """Run claims on every installed backend, then mutants; progress goes to stdout."""
    report = Report()
    for item in claims:
        for backend in item.backends:
            for dtype in item.dtypes:
                _examine_claim(report, item, backend, dtype)
    for mutant in mutants:
        _examine_mutant(report, mutant)
    return report


def _examine_claim(report: Report, item: Claim, backend: str, dtype: str) -> None:
    name = f"{item.id} ({backend}, {dtype})"
    if backend not in installed_backends():
        report.skipped.append(f"{name}: {backend} is not installed")
        return
    try:
        results = check(item, backend, dtype)
    except Skipped as reason:
        report.skipped.append(f"{name}: {reason}")
    except Exception as error:  # one broken claim must not hide the others
        report.broken.append(f"{name}: {type(error).__name__}: {error}")
    else:
        report.results.extend(results)
        print(*results, sep="\n", flush=True)


def _examine_mutant(report: Report, mutant: Mutant) -> None:
    try:
        report.killed[mutant.name] = killed_by(mutant)
    except Skipped as reason:
        report.skipped.append(f"mutant {mutant.name}: {reason}")
    except Exception as error:  # it kills by numbers or not at all
        report.broken.append(f"mutant {mutant.name}: {type(error).__name__}: {error}")
    else:
        print(f"mutant {mutant.name}: killed by {report.killed[mutant.name]}", flush=True)


def unused_tolerances(results: Iterable[Result]) -> list[str]:
    """Keys of the table that no result has looked up."""
    used = {find_key(result.claim, result.variant, result.dtype, result.backend) for result in results}
    return sorted(set(TOLERANCES) - used)


def to_json(report: Report) -> dict[str, Any]:
    """The content of docs/parity.json."""
    return {
        "claims": [
            {
                "claim": result.name,
                "backend": result.backend,
                "dtype": result.dtype,
                "error": float(f"{result.error:.3g}"),
                "tolerance": result.tolerance,
                "passed": result.passed,
            }
            for result in report.results
        ],
        "mutants": [{"mutant": name, "killed_by": killers} for name, killers in report.killed.items()],
        "skipped": report.skipped,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of the packages that the numbers depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def summary(content: dict[str, Any]) -> str:
    """One sentence of figures, for people: of the content of docs/parity.json."""
    rows, mutants = content["claims"], content["mutants"]
    claims = {row["claim"].partition(":")[0] for row in rows}
    backends = [backend for backend in BACKENDS if any(row["backend"] == backend for row in rows)]
    return (
        f"{len(claims)} claims, examined in {len(rows)} comparisons on Keras {content['versions']['keras']} with "
        f"{', '.join(backends)}: {sum(row['passed'] for row in rows)} within tolerance. "
        f"{len(mutants)} deliberate mistakes: {sum(bool(row['killed_by']) for row in mutants)} found by the claims."
    )


def with_summary(readme: str, content: dict[str, Any]) -> str:
    """The README with its paragraph between the markers replaced, or unchanged where it has none."""
    pattern = rf"{re.escape(MARKER)}\n.*?{re.escape(MARKER)}"
    return re.sub(pattern, lambda _: f"{MARKER}\n{summary(content)}\n{MARKER}", readme, flags=re.DOTALL)


def to_markdown(report: Report) -> str:
    """The content of docs/parity.md."""
    content = to_json(report)
    parts = [
        "# Parity with Keras",
        "Written by `scripts/parity_report.py`; do not edit.",
        summary(content),
        "## Claims",
        *_statements(report.results),
        "## Errors",
        "The largest error of each claim, over all of its variants that share a tolerance. Every variant is in "
        "`parity.json`.",
        _table(_error_header(), _error_rows(report.results)),
        "## Deliberate mistakes",
        "Each is made in our side alone, and must be found by the numbers of the claims named. Against Keras on torch, "
        "and on tensorflow where a claim is about that alone.",
        _table(("mistake", "what is wrong", "found by"), _mutant_rows(report.killed)),
        "## Versions",
        _table(("package", "version"), content["versions"].items()),
    ]
    if report.skipped:
        parts += ["## Not examined here", "\n".join(f"- {line}" for line in report.skipped)]
    return "\n\n".join(parts) + "\n"


def _statements(results: Sequence[Result]) -> list[str]:
    examined = {result.claim for result in results}
    claims = [item for item in all_claims().values() if item.id in examined]
    return ["\n".join(f"- **{item.id}** ({item.number}): {item.statement}" for item in claims)]


def _error_header() -> tuple[str, ...]:
    return ("claim", "variant", "precision", *BACKENDS, "tolerance", "verdict", "reason")


def _error_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """One row for each claim, precision and tolerance; a column for each backend."""
    groups: dict[tuple[str, str, float, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.claim, result.dtype, result.tolerance, result.reason), []).append(result)
    return [_error_row(key, members) for key, members in groups.items()]


def _error_row(key: tuple[str, str, float, str], members: Sequence[Result]) -> tuple[str, ...]:
    claim, dtype, tolerance, reason = key
    variants = {member.variant for member in members}
    shown = next(iter(variants)) if len(variants) == 1 else f"{len(variants)} variants"
    errors = []
    for backend in BACKENDS:
        own = [member.error for member in members if member.backend == backend]
        errors.append(f"{max(own):.1e}" if own else "n/a")
    verdict = "equal" if all(member.passed for member in members) else "**DIFFERENT**"
    return (claim, shown, dtype, *errors, f"{tolerance:.3g}", verdict, reason)


def _mutant_rows(killed: dict[str, list[str]]) -> list[tuple[str, ...]]:
    return [
        (name, MUTANTS[name].statement, ", ".join(killers) or "**nothing: it survives**")
        for name, killers in killed.items()
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
