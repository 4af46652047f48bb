"""The tables of speeds in README and docs/speed.md: what a benchmark.json says, for who reads nothing else."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.machine import computes_on, has_bfloat16
from benchmarks.targets import Row, best, marked_rows

MARKER = "<!-- benchmark:table {} -->"
"""Stands before and after the table of the report in that folder."""
PLACES = (
    ("head", "resident"),
    ("finetune", "resident"),
    ("head", "files"),
    ("finetune", "files"),
    ("predict", "resident"),
    ("predict", "files"),
)
FAMILIES = {"lightning-tl": "lightning-tl", "keras": "fastest Keras", "plain-lightning": "plain Lightning"}
STAR = " *"
"""Behind a figure of an earlier run."""


def summary(content: Mapping[str, Any]) -> str:
    """The machine, images per second of each family's fastest in a table, and what is measured in seconds.

    What the report's own run has not measured is that of an earlier one, with a star.
    """
    machine, settings = content["machine"], content["settings"]
    rows = marked_rows(content, "rows")
    header = [
        f"Images per second on {computes_on(machine)}, batches of {settings['batch_size']} at "
        f"{settings['image_size']} pixels; the recipe's augmentation is inside.",
        "",
        "| | precision | " + " | ".join(FAMILIES.values()) + " | times fastest Keras | of the ceiling |",
        "|---" * (4 + len(FAMILIES)) + "|",
    ]
    lines = [
        _line(rows, phase, source, precision)
        for phase, source in PLACES
        for precision in (("float32", "mixed") if has_bfloat16(machine) else ("float32",))
        if best(rows, "lightning-tl", precision, phase, source)
    ]
    lines += _seconds(content)
    if any(STAR in line for line in lines):
        lines += ["", "Figures with * are of an earlier run on this machine."]
    return "\n".join([*header, *lines])


def with_summary(page: str, content: Mapping[str, Any], folder: str) -> str:
    """The page with what stands between the folder's markers replaced, or unchanged where it has none."""
    marker = MARKER.format(folder)
    pattern = rf"{re.escape(marker)}\n.*?{re.escape(marker)}"
    return re.sub(pattern, lambda _: f"{marker}\n{summary(content)}\n{marker}", page, flags=re.DOTALL)


def _seconds(content: Mapping[str, Any]) -> list[str]:
    """A line of what is measured in seconds, in float32."""
    what = {
        ("startup", "first_step_seconds"): "Seconds from the start of a process to the end of the first training step",
        (
            "time_to_accuracy",
            "seconds",
        ): "seconds of training and validation"
        + (", compilation included," if content["settings"].get("anew") else "")
        + " to an accuracy on held-out images of {target:g}",
    }
    said = []
    for (block, name), words in what.items():
        rows = [row for row in marked_rows(content, block) if row["precision"] == "float32" and row[name] is not None]
        if rows:
            each = ", ".join(f"{row['framework']} {_figure(row, name, 1)}" for row in rows)
            said.append(f"{words.format(**rows[0])}: {each}")
    return ["", "; ".join(said) + "."] if said else []


def _line(rows: Sequence[Row], phase: str, source: str, precision: str) -> str:
    own = [row for row in rows if not row.get("earlier")]
    place = (phase, source)
    found = {f: best(own, f, precision, *place) or best(rows, f, precision, *place) for f in FAMILIES}
    # Mixed is compared with the fastest Keras of either precision; the fastest it is, whichever run has measured it.
    either = [best(rows, "keras", name, *place) for name in dict.fromkeys(("float32", precision))]
    found["keras"] = max(filter(None, either), key=lambda row: row["images_per_second"], default=None)
    speeds = ["n/a" if row is None else _figure(row, "images_per_second", 0) for row in found.values()]
    ours, keras = found["lightning-tl"], found["keras"]
    assert ours is not None
    if keras and ours.get("earlier") and not keras.get("earlier"):  # ratios are of one run
        ours = {**ours, "ratio_to_fastest_keras": None}
    ratio, share = (_figure(ours, name, 2) for name in ("ratio_to_fastest_keras", "fraction_of_ceiling"))
    return f"| {phase}, {source} | {precision} | {' | '.join(speeds)} | {ratio} | {share} |"


def _figure(row: Row, name: str, digits: int) -> str:
    """A figure of a row as the table has it."""
    if row[name] is None:
        return "n/a"
    return f"{row[name]:.{digits}f}{STAR if row.get('earlier') else ''}"
