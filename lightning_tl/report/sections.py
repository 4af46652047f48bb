"""Sections that one run and several have in common."""

import base64
import re
from collections.abc import Sequence

from lightning_tl.report.blocks import name_of, section, table
from lightning_tl.report.charts import reliability_chart, share_bar
from lightning_tl.report.markup import Content, Markup, shown, tag, void
from lightning_tl.report.measures import BINS, wilson
from lightning_tl.report.numbers import MISSING, counted, decimal, interval, percent, whole
from lightning_tl.report.summary import Summary

GUO = "Guo et al. 2017"
GRIDS = 1_000_000
"""Characters for the grids of augmented samples; the run whose grid passes it is the last that shows one."""


def reliability(summaries: Sequence[Summary]) -> Markup:
    """Whether probabilities can be believed."""
    figures = []
    for number, summary in enumerate(summaries):
        title = f"Reliability diagram of {summary.name}"
        words = f"{summary.name}: " if len(summaries) > 1 else ""
        caption = tag(
            "figcaption", tag("b", f"{words}ECE {decimal(summary.ece)}"), f" on {counted(summary.total, 'image')}"
        )
        figures.append(tag("figure", caption, reliability_chart(title, summary.bins, number)))
    note = (
        f"Expected calibration error over {BINS} bins of equal width of the predicted class's probability ({GUO}): the "
        "mean distance between confidence and accuracy, weighted by images. Bars below the broken diagonal: the model "
        "is surer than it should be."
    )
    tables = tag("details", tag("summary", "The bins as tables"), *(_bins(s) for s in summaries))
    return section("reliability", "Reliability", tag("div", *figures, class_="charts"), tables, note=note)


def class_table(summary: Summary) -> Markup:
    """Precision, recall, F1 and support of each class."""
    rows: list[list[Content]] = []
    for score in summary.scores:
        bounds = interval(wilson(score.hits, score.support)) if score.support else MISSING
        values = (percent(score.precision), percent(score.recall), bounds, decimal(score.f1), whole(score.support))
        rows.append([name_of(score.name), *values])
    caption = f"{summary.name}, {summary.run.split} split"
    return table(
        caption, ("class", "precision", "recall", "95 % CI of recall", "F1", "support"), rows, "sortable numbers"
    )


def augmented(summaries: Sequence[Summary]) -> Markup:
    """Training samples as the model saw them; of the first runs alone where the pictures of all are too much."""
    parts: list[Markup] = []
    missing: list[str] = []
    room = GRIDS
    for summary in summaries:
        grid = summary.pictures.augmented() if room > 0 else None
        if grid is None:
            missing.append(summary.name)
            continue
        source = "data:image/jpeg;base64," + base64.b64encode(grid.jpeg).decode()
        room -= len(source)
        rows = ", ".join(map(shown, dict.fromkeys(grid.rows)))
        columns = ", ".join(map(shown, dict.fromkeys(map(_from_one, grid.columns))))
        told = f"Rows: {rows or 'samples'}. Columns: {columns or 'epochs'}."
        if any(column.startswith("draw") for column in grid.columns):  # of Keras' own layers, which do not draw twice
            told += " Training had other draws of the same kind."
        words = f"Augmented training samples of {summary.name}. {told}"
        width, height = grid.size
        image = void("img", src=source, width=width, height=height, alt=words, loading="lazy")
        box = tag("div", image, class_="scroll picture", tabindex=0, role="region", aria_label=words)
        parts.append(tag("figure", box, tag("figcaption", f"{summary.name}. {told}")))
    if missing:
        told = f"Without a picture of training samples in the run folder, or without room for it: {', '.join(missing)}."
        parts.append(tag("p", told, class_="empty"))
    note = "Training samples, first as they are, then with the random changes of some epochs, as the model saw them."
    return section("augmented", "Augmented training samples", *parts, note=note)


def _from_one(column: str) -> str:
    """A column's name with the epoch as the page counts it; the run has counted from 0."""
    return re.sub(r"\Aepoch ([0-9]{1,9})\Z", lambda found: f"epoch {int(found[1]) + 1}", column)


def balance(summaries: Sequence[Summary]) -> Markup:
    """Images of each class and split."""
    parts: list[Markup] = []
    seen: list[object] = []
    for summary in summaries:
        samples = summary.run.samples
        if samples is None:
            parts.append(tag("p", f"{summary.name} has no split.csv: its training images are unknown.", class_="empty"))
        elif samples not in seen:
            seen.append(samples)
            same = [other.name for other in summaries if other.run.samples == samples]
            parts.append(_balance(summary, ", ".join(same)))
    note = (
        "How many images of each class were trained on and held out. A class with few images is learnt less well, and "
        "what is said of it is less certain."
    )
    return section("balance", "Class balance", *parts, note=note)


def _balance(summary: Summary, names: str) -> Markup:
    counts: dict[str, dict[str, int]] = {name: {} for name in summary.run.classes}
    for split, _, label in summary.run.samples or ():
        row = counts.setdefault(label, {})
        row[split] = row.get(split, 0) + 1
    found = {split for row in counts.values() for split in row}
    splits = [split for split in ("train", "val", "test") if split in found]
    totals = {name: [row.get(split, 0) for split in splits] for name, row in counts.items()}
    most = max((sum(row) for row in totals.values()), default=0)
    rows: list[list[Content]] = [
        [name_of(name), *map(whole, row), share_bar(row, most)] for name, row in totals.items()
    ]
    keys = [tag("span", tag("i", class_=f"key part{i}"), split) for i, split in enumerate(splits)]
    header = ("class", *splits, tag("span", *keys, class_="legend"))
    return table(names, header, rows, "sortable numbers balance")


def _bins(summary: Summary) -> Markup:
    rows: list[list[Content]] = []
    for part in summary.bins:
        values = (decimal(part.confidence), decimal(part.accuracy)) if part.count else (MISSING, MISSING)
        rows.append([f"{part.low:.3f} to {part.high:.3f}", whole(part.count), *values])
    return table(summary.name, ("confidence", "images", "mean confidence", "accuracy"), rows, "numbers")
