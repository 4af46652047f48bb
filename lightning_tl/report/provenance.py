"""Where a run comes from: config, versions, weights."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_tl.report.blocks import section, table
from lightning_tl.report.markup import Content, Markup, shown, tag
from lightning_tl.report.numbers import MISSING
from lightning_tl.report.summary import Summary

LONGEST = 30_000
"""Characters of a config that the page shows."""


def provenance(summaries: Sequence[Summary]) -> Markup:
    """What it takes to run it again."""
    facts = [_facts(summary) for summary in summaries]
    keys = dict.fromkeys(key for part in facts for key in part)
    rows: list[list[Content]] = [
        [key, *(tag("span", part.get(key, MISSING), class_="fact") for part in facts)] for key in keys
    ]
    header = ("", *(summary.name for summary in summaries))
    configs = [_config(summary) for summary in summaries]
    return section("provenance", "Configuration and versions", table("How the run was made", header, rows), *configs)


def weights_of(summary: Summary) -> Mapping[str, Any]:
    """Source and SHA-256 of the weights that the run began with; may be empty."""
    weights = summary.run.results.get("weights")
    return weights if isinstance(weights, dict) else {}


def versions_of(summary: Summary) -> Mapping[str, Any]:
    """Versions by package; may be empty."""
    versions = summary.run.results.get("versions")
    return versions if isinstance(versions, dict) else {}


def _facts(summary: Summary) -> dict[str, str]:
    weights = weights_of(summary)
    facts = {
        "run folder": str(summary.run.folder),
        "framework": summary.run.framework,
        "seed": str(summary.run.results.get("seed", MISSING)),
        "weights": str(weights.get("source", MISSING)),
        "weights, SHA-256": str(weights.get("sha256", MISSING)),
        **{str(package): str(version) for package, version in versions_of(summary).items()},
    }
    return {shown(key): shown(value) for key, value in facts.items()}


def _config(summary: Summary) -> Markup:
    text = summary.run.config
    if text is None:
        return tag("p", f"{summary.name} has no config.yaml.", class_="empty")
    lines = "\n".join(shown(line) for line in text[:LONGEST].split("\n"))
    left = (
        f"\n… {len(text) - LONGEST} more characters: see config.yaml in the run folder" if len(text) > LONGEST else ""
    )
    head = tag("summary", f"config.yaml of {summary.name}")
    box = tag(
        "pre", lines + left, tabindex=0, class_="scroll", aria_label=f"config.yaml of {summary.name}", role="region"
    )
    return tag("details", head, box)
