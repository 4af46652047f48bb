"""Sections that one run and several have in common."""

import base64
from collections.abc import Sequence

from lightning_tl.report.charts import Line, colour, line_chart, mark, reliability_chart, share_bar
from lightning_tl.report.markup import Content, Markup, shown, tag, void
from lightning_tl.report.measures import BINS, wilson
from lightning_tl.report.numbers import MISSING, counted, decimal, interval, percent, whole
from lightning_tl.report.summary import Summary

GUO = "Guo et al. 2017"
GRIDS = 1_000_000
"""Characters for the grids of augmented samples; the run whose grid passes it is the last that shows one."""


def section(identity: str, title: str, *content: Content, note: Content = None) -> Markup:
    """One section of the page with its heading and, under it, how to read it."""
    explained = None if note is None else tag("p", note, class_="note")
    head = tag("h2", title, id=f"{identity}-title")
    return tag("section", head, explained, *content, id=identity, aria_labelledby=f"{identity}-title")


def table(caption: str, header: Sequence[Content], rows: Sequence[Sequence[Content]], class_: str = "") -> Markup:
    """A table in a box of its own, which scrolls where the page is too narrow; the first cell of a row heads it."""
    head = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in header)))
    lines = [tag("tr", tag("th", row[0], scope="row"), *(_cell(cell) for cell in row[1:])) for row in rows]
    whole_table = tag("table", tag("caption", caption), head, tag("tbody", *lines), class_=class_ or None)
    return tag("div", whole_table, class_="scroll", tabindex=0, role="region", aria_label=caption)


def name_of(text: str) -> Markup:
    """A class's or file's name, its spaces kept."""
    return tag("span", shown(text), class_="name")


def curves(summaries: Sequence[Summary]) -> Markup:
    """Loss and accuracy over all phases of all runs."""
    longest = max(summaries, key=lambda summary: len(summary.run.epochs))
    if not any(epoch.values for epoch in longest.run.epochs):
        return section(
            "curves", "Training", tag("p", "There is no metrics.csv, so there are no curves.", class_="empty")
        )
    charts = [_curve(summaries, longest, metric) for metric in ("loss", "accuracy")]
    note = "Solid lines: validation images; broken lines: training images, augmented, with dropout."
    if len(summaries) > 1:
        note += f" Phases are those of {longest.name}."
    else:
        note += " The upright line is where the next phase begins."
    legend = tag("p", *(tag("span", mark(i), s.name) for i, s in enumerate(summaries)), class_="legend")
    boxes = tag("div", *charts, class_="charts")
    tables = tag("details", tag("summary", "The curves as tables"), *(_epochs(s) for s in summaries))
    return section("curves", "Training", legend if len(summaries) > 1 else None, boxes, tables, note=note)


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
        rows, columns = (", ".join(map(shown, dict.fromkeys(names))) for names in (grid.rows, grid.columns))
        told = f"Rows: {rows or 'samples'}. Columns: {columns or 'epochs'}."
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


def _curve(summaries: Sequence[Summary], longest: Summary, metric: str) -> Markup:
    lines = []
    for number, summary in enumerate(summaries):
        before = f"{summary.name}, " if len(summaries) > 1 else ""
        for prefix, words in (("val", "validation"), ("train", "training")):
            key = f"{prefix}_{metric}"
            points = [(e.number + 1, e.values[key]) for e in summary.run.epochs if key in e.values]
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
    for epoch in summary.run.epochs:
        place = epoch.number + 1
        phase = next((part.name for part in summary.stretches if part.first <= place <= part.last), MISSING)
        losses = (decimal(epoch.values.get(key)) for key in keys[:2])
        rows.append([str(place), phase, *losses, *(percent(epoch.values.get(key)) for key in keys[2:])])
    header = ("epoch", "phase", "training loss", "validation loss", "training accuracy", "validation accuracy")
    return table(summary.name, header, rows, "numbers")


def _bins(summary: Summary) -> Markup:
    rows: list[list[Content]] = []
    for part in summary.bins:
        values = (decimal(part.confidence), decimal(part.accuracy)) if part.count else (MISSING, MISSING)
        rows.append([f"{part.low:.3f} to {part.high:.3f}", whole(part.count), *values])
    return table(summary.name, ("confidence", "images", "mean confidence", "accuracy"), rows, "numbers")


def _cell(content: Content) -> Markup:
    return tag("td", content)


def run_mark(number: int) -> str:
    """Style classes of what belongs to a run."""
    return f"run {colour(number)}"
