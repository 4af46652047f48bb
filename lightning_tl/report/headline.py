"""The top of the page: the figures that matter, and what speaks against them."""

import math
from collections.abc import Sequence

from lightning_tl.report.blocks import name_of, section, table
from lightning_tl.report.duplicates import LOOKED_AT, Group
from lightning_tl.report.lookalikes import ALIKE, SIDE
from lightning_tl.report.markup import Markup, joined, tag
from lightning_tl.report.measures import wilson
from lightning_tl.report.numbers import counted, decimal, interval, percent, whole
from lightning_tl.report.summary import Summary

LISTED = 50
"""Groups of duplicates that the page names."""
NAMED = 10
"""Files of a group that it names."""
ROUNDING = 1e-6
"""Relative; results.json's accuracy and that of predictions.csv may differ so much."""
SPLITS = {"val": "validation", "test": "test"}


def headline(summary: Summary) -> Markup:
    """Accuracy with its interval, and the other figures of one run."""
    split = SPLITS.get(summary.run.split, summary.run.split)
    told = f"{whole(summary.hits)} of {counted(summary.total, f'{split} image')} right"
    main = tag(
        "div",
        tag("p", f"Accuracy on the {split} split", class_="what"),
        tag("p", percent(summary.accuracy), class_="figure"),
        tag("p", f"95 % confidence interval {interval(summary.interval)} (Wilson); {told}", class_="how"),
        class_="tile main",
    )
    loss = summary.run.results["test"].get("loss")
    tiles = [
        _tile("Loss", decimal(loss), "cross-entropy, mean"),
        _tile("F1", decimal(summary.f1), "mean of the classes"),
        _tile("ECE", decimal(summary.ece), "calibration error"),
    ]
    speeds = summary.speeds.items()
    tiles += [_tile(f"Speed, {name}", whole(speed), "training images a second") for name, speed in speeds]
    chosen = None
    if summary.run.split == "val":
        words = (
            "There is no test split: these images have also chosen the best checkpoint, so a new set may do less well."
        )
        chosen = tag("p", words, class_="note")
    boxes = tag("div", main, *tiles, class_="tiles")
    return section("headline", "Result", boxes, chosen, _other_splits(summary))


def cautions(summaries: Sequence[Summary]) -> Markup:
    """Boxes with what a reader must know before trusting the figures; empty if there is nothing."""
    found: dict[Markup, list[str]] = {}
    for summary in summaries:
        for text in _cautions(summary):
            found.setdefault(text, []).append(summary.name)
    several = len(summaries) > 1
    boxes = [
        tag("p", tag("b", f"{', '.join(names)}: " if several else "Caution: "), text, class_="caution", role="note")
        for text, names in found.items()
    ]
    return tag("div", *boxes, class_="cautions") if boxes else Markup("")


def duplicates(summaries: Sequence[Summary]) -> Markup:
    """Images that are in more than one split or class."""
    parts = [part for summary in summaries for part in _duplicates(summary, len(summaries) > 1)]
    note = (
        "Files with one picture in more than one split: the model may have trained on what it is tested with. And in "
        "more than one class: at most one of the labels is right. Copies have the same bytes (SHA-256). Pictures look "
        f"the same where {SIDE} x {SIDE} RGB thumbnails correlate by {ALIKE} or more, as after being resized or saved "
        f"anew; among more than {whole(LOOKED_AT)} images they are not looked for, and cropped, turned or mirrored "
        "pictures are not found."
    )
    return section("duplicates", "Duplicate images", *parts, note=note)


def _cautions(summary: Summary) -> list[Markup]:
    found: list[Markup] = []
    link = tag("a", "see which", href="#duplicates")
    for groups, where in ((_leaks(summary), "split, so the result may be too good"), (_clashes(summary), "class")):
        if groups:
            what = counted(len(groups), "picture is", "pictures are")
            found.append(joined(f"{what} in more than one {where}; ", link, "."))
    if summary.shared is None:
        found.append(joined(f"{_unchecked(summary)} Duplicates across splits were not looked for."))
    trained = sum(epochs for phase in summary.run.phases if isinstance(epochs := phase.get("epochs"), int))
    told_of = summary.run.epochs[-1].number + 1 if summary.run.epochs else 0
    if told_of and trained and told_of != trained:  # fewer where an earlier checkpoint was resumed
        found.append(
            joined(
                f"metrics.csv ends with epoch {told_of}, results.json speaks of {counted(trained, 'epoch')}: the run "
                "was resumed and has not come to its end since, or has gone on without writing metrics.csv. Curves are "
                "not those of the figures and predictions; resume it, so that it ends."
            )
        )
    if summary.run.results["test"].get("loss", 0) is None:
        found.append(
            joined(
                "the loss of the weights that were kept is no finite number: training has diverged. Probabilities that "
                "are no numbers count as 0 here. Train again with a lower learning rate."
            )
        )
    told = summary.run.results["test"].get("accuracy")
    if isinstance(told, (int, float)) and not math.isclose(told, summary.accuracy, rel_tol=ROUNDING):
        found.append(
            joined(
                f"results.json says {percent(told)} accuracy, predictions.csv {percent(summary.accuracy)}. One of the "
                "two was changed after the run; this page speaks of predictions.csv."
            )
        )
    return found


def _unchecked(summary: Summary) -> str:
    """Why duplicates could not be looked for."""
    if summary.run.data.get("dataset"):
        return "the images come from a data set, not from files; pictures are those in the run folder alone."
    if summary.pictures.root is None:
        return (
            "the original images cannot be reached, so pictures are those in the run folder alone. Run the command "
            "where data.root of config.yaml is to be found."
        )
    return "there is no split.csv in the run folder."


def _other_splits(summary: Summary) -> Markup | None:
    """Accuracy on the splits that the headline does not speak of."""
    rows = [row for row in summary.run.predictions if row.split != summary.run.split]
    told = []
    for split in dict.fromkeys(row.split for row in rows):
        hits = [row.hit for row in rows if row.split == split]
        bounds = interval(wilson(sum(hits), len(hits)))
        share = percent(sum(hits) / len(hits))
        words = f"{SPLITS.get(split, split)} split: {share} ({bounds}) of {counted(len(hits), 'image')}"
        told.append(tag("p", words, class_="note"))
    return joined(*told) if told else None


def _tile(what: str, figure: str, how: str) -> Markup:
    lines = (tag("p", what, class_="what"), tag("p", figure, class_="figure"), tag("p", how, class_="how"))
    return tag("div", *lines, class_="tile")


def _duplicates(summary: Summary, named: bool) -> list[Markup]:
    before = f"{summary.name}: " if named else ""
    if summary.shared is None:
        return [tag("p", f"{before}not checked: {_unchecked(summary)}", class_="empty")]
    parts = []
    if summary.unread:
        parts.append(tag("p", f"{before}{counted(summary.unread, 'image')} could not be read.", class_="empty"))
    if not summary.shared:
        parts.append(
            tag("p", f"{before}none among {counted(len(summary.run.samples or ()), 'image')}.", class_="empty")
        )
    for groups, where in ((_leaks(summary), "splits"), (_clashes(summary), "classes")):
        if groups:
            parts += _listed(groups, f"{before}{counted(len(groups), 'picture')} in several {where}")
    return parts


def _listed(groups: Sequence[Group], caption: str) -> list[Markup]:
    rows = [
        [
            str(number),
            _named(group),
            "same bytes" if group.same_bytes else "looks the same",
        ]
        for number, group in enumerate(groups[:LISTED], start=1)
    ]
    more = len(groups) - LISTED
    left = [tag("p", f"{more} more are not listed.", class_="empty")] if more > 0 else []
    return [table(caption, ("", "split and file", "how alike"), rows), *left]


def _named(group: Group) -> Markup:
    lines = [tag("div", f"{split}: ", name_of(path)) for split, path, _ in group.samples[:NAMED]]
    more = len(group.samples) - NAMED
    return joined(*lines, *([tag("div", f"and {more} more")] if more > 0 else []))


def _leaks(summary: Summary) -> list[Group]:
    return [group for group in summary.shared or () if group.leaks]


def _clashes(summary: Summary) -> list[Group]:
    return [group for group in summary.shared or () if group.clashes]
