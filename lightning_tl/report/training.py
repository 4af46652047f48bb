"""The section on training: loss and accuracy over all phases, as curves and as tables."""

import math
from collections.abc import Sequence

from lightning_tl.report.blocks import section, table
from lightning_tl.report.charts import Line, line_chart, mark
from lightning_tl.report.markup import Content, Markup, tag
from lightning_tl.report.numbers import MISSING, decimal, percent
from lightning_tl.report.rows import Epoch
from lightning_tl.report.summary import Summary

MOST_EPOCHS = 250
"""In charts and tables; of a longer run as many epochs, evenly spaced."""


def curves(summaries: Sequence[Summary]) -> Markup:
    """Loss and accuracy over all phases of all runs."""
    longest = max(summaries, key=lambda summary: len(summary.run.epochs))
    if not any(epoch.values for epoch in longest.run.epochs):
        return section(
            "curves", "Training", tag("p", "There is no metrics.csv, so there are no curves.", class_="empty")
        )
    charts = [_curve(summaries, longest, metric) for metric in ("loss", "accuracy")]
    note = "Solid lines: validation images; broken lines: training images, augmented, with dropout."
    note += " The upright line is where the next phase begins"
    note += "." if all(s.stretches == longest.stretches for s in summaries) else f" in {longest.name}."
    if (step := _step(longest)) > 1:
        note += f" Of {len(longest.run.epochs)} epochs one in {step} is shown."
    legend = tag("p", *(tag("span", mark(i), s.name) for i, s in enumerate(summaries)), class_="legend")
    boxes = tag("div", *charts, class_="charts")
    tables = tag("details", tag("summary", "The curves as tables"), *(_epochs(s) for s in summaries))
    return section("curves", "Training", legend if len(summaries) > 1 else None, boxes, tables, note=note)


def _curve(summaries: Sequence[Summary], longest: Summary, metric: str) -> Markup:
    lines = []
    for number, summary in enumerate(summaries):
        before = f"{summary.name}, " if len(summaries) > 1 else ""
        for prefix, words in (("val", "validation"), ("train", "training")):
            key = f"{prefix}_{metric}"
            points = [(e.number + 1, e.values[key]) for e in _some(summary) if key in e.values]
            if points:
                lines.append(Line(before + words, number, prefix == "train", points))
    title = f"{metric.capitalize()} by epoch"
    caption = tag("figcaption", tag("b", metric.capitalize()))
    if not lines:
        return tag("figure", caption, tag("p", f"metrics.csv has no {metric}.", class_="empty"))
    return tag("figure", caption, line_chart(title, lines, longest.stretches, 1.0 if metric == "accuracy" else None))


def _epochs(summary: Summary) -> Markup:
    keys = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    rows: list[list[Content]] = []
    for epoch in _some(summary):
        place = epoch.number + 1
        phase = next((part.name for part in summary.stretches if part.first <= place <= part.last), MISSING)
        losses = (decimal(epoch.values.get(key)) for key in keys[:2])
        rows.append([str(place), phase, *losses, *(percent(epoch.values.get(key)) for key in keys[2:])])
    header = ("epoch", "phase", "training loss", "validation loss", "training accuracy", "validation accuracy")
    return table(summary.name, header, rows, "numbers")


def _step(summary: Summary) -> int:
    return math.ceil(len(summary.run.epochs) / MOST_EPOCHS) or 1


def _some(summary: Summary) -> list[Epoch]:
    """The epochs that are shown, the last one among them."""
    epochs = summary.run.epochs
    return list(epochs[:: -_step(summary)][::-1])
