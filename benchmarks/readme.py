"""README's table of speeds: what a benchmark.json says, for who reads nothing else."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.machine import computes_on, has_bfloat16
from benchmarks.targets import Row, best, own_rows

MARKER = "<!-- benchmark:table {} -->"
"""Stands before and after the README's table of the report in that folder."""
PLACES = (
    ("head", "resident"),
    ("finetune", "resident"),
    ("head", "files"),
    ("finetune", "files"),
    ("predict", "resident"),
)
FAMILIES = {"lightning-tl": "lightning-tl", "keras": "fastest Keras", "plain-lightning": "plain Lightning"}


def summary(content: Mapping[str, Any]) -> str:
    """The machine, images per second of each family's fastest in a table, and what is measured in seconds."""
    machine, settings = content["machine"], content["settings"]
    rows = own_rows(content, "rows")
    lines = [
        f"Images per second on {computes_on(machine)}, batches of {settings['batch_size']} at "
        f"{settings['image_size']} pixels; the recipe's augmentation is inside.",
        "",
        "| | precision | " + " | ".join(FAMILIES.values()) + " | times fastest Keras | of the ceiling |",
        "|---" * (4 + len(FAMILIES)) + "|",
    ]
    lines += [
        _line(rows, phase, source, precision)
        for phase, source in PLACES
        for precision in (("float32", "mixed") if has_bfloat16(machine) else ("float32",))
        if best(rows, "lightning-tl", precision, phase, source)
    ]
    return "\n".join([*lines, *_seconds(content)])


def with_summary(readme: str, content: Mapping[str, Any], folder: str) -> str:
    """The README with what stands between the folder's markers replaced, or unchanged where it has none."""
    marker = MARKER.format(folder)
    pattern = rf"{re.escape(marker)}\n.*?{re.escape(marker)}"
    return re.sub(pattern, lambda _: f"{marker}\n{summary(content)}\n{marker}", readme, flags=re.DOTALL)


def _seconds(content: Mapping[str, Any]) -> list[str]:
    """A line of what is measured in seconds, in float32, where that is of this run."""
    what = {
        ("startup", "first_step_seconds"): "Seconds from the start of a process to the end of the first training step",
        (
            "time_to_accuracy",
            "seconds",
        ): "seconds of training and validation to an accuracy on held-out images of {target:g}",
    }
    said = []
    for (block, name), words in what.items():
        rows = [row for row in own_rows(content, block) if row["precision"] == "float32" and row[name] is not None]
        if rows:
            each = ", ".join(f"{row['framework']} {row[name]:.1f}" for row in rows)
            said.append(f"{words.format(**rows[0])}: {each}")
    return ["", "; ".join(said) + "."] if said else []


def _line(rows: Sequence[Row], phase: str, source: str, precision: str) -> str:
    found = {family: best(rows, family, precision, phase, source) for family in FAMILIES}
    if precision == "mixed":  # which is compared with the fastest Keras of either precision
        either = [best(rows, "keras", name, phase, source) for name in ("float32", "mixed")]
        found["keras"] = max(filter(None, either), key=lambda row: row["images_per_second"], default=None)
    speeds = ["n/a" if row is None else f"{row['images_per_second']:.0f}" for row in found.values()]
    ours = found["lightning-tl"]
    assert ours is not None
    ratio, share = (
        "n/a" if ours[name] is None else f"{ours[name]:.2f}"
        for name in ("ratio_to_fastest_keras", "fraction_of_ceiling")
    )
    return f"| {phase}, {source} | {precision} | {' | '.join(speeds)} | {ratio} | {share} |"
