"""What only a page about several runs has: the runs in one table, their differences, and whether these are noise."""

from collections.abc import Sequence

from lightning_tl.report.blocks import name_of, section, table
from lightning_tl.report.charts import mark
from lightning_tl.report.markup import Content, Markup, joined, shown, tag
from lightning_tl.report.measures import NOISE
from lightning_tl.report.numbers import MISSING, counted, decimal, interval, p_value, percent, points, whole
from lightning_tl.report.provenance import versions_of, weights_of
from lightning_tl.report.summary import Pair, Summary, compare

HASH_DIGITS = 12
"""Of the weights' SHA-256 in the table; the whole one stands with the versions."""


def runs_table(summaries: Sequence[Summary]) -> Markup:
    """The runs side by side, a column each."""
    columns = [_column(summary) for summary in summaries]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows: list[list[Content]] = [[key, *(column.get(key, MISSING) for column in columns)] for key in keys]
    header = ("", *(joined(mark(number), summary.name) for number, summary in enumerate(summaries)))
    return table("Each run on its own tested split", header, rows, "numbers runs")


def differences(summaries: Sequence[Summary]) -> Markup:
    """Each run against the first, in a sentence and a table."""
    first = summaries[0]
    pairs = [(other, compare(first.run, other.run)) for other in summaries[1:]]
    sentences = [tag("p", _sentence(first, other, pair), class_="verdict") for other, pair in pairs]
    header = (
        "run",
        "difference",
        "images of both",
        f"right in {first.name} alone",
        "right in this alone",
        "both right",
        "p",
    )
    rows: list[list[Content]] = [
        [
            joined(mark(number), other.name),
            points(pair.difference) if pair.common else MISSING,
            *map(whole, (pair.common, pair.only_first, pair.only_second, pair.both)),
            p_value(pair.p).removeprefix("p ").removeprefix("= ") if pair.common else MISSING,
        ]
        for number, (other, pair) in enumerate(pairs, start=1)
    ]
    note = (
        "McNemar's test, two-sided, on the images that both runs predicted: only those that one run alone gets right "
        f"can tell the two apart. More than noise: p below {NOISE}, not corrected for the number of runs."
    )
    told = table(f"Against {first.name}", header, rows, "numbers")
    return section("difference", "Is the difference more than noise?", *sentences, told, note=note)


def class_differences(summaries: Sequence[Summary]) -> Markup:
    """Recall and F1 of each class in every run, and how far they are from the first run's."""
    scores = [{score.name: score for score in summary.scores} for summary in summaries]
    names = dict.fromkeys(name for part in scores for name in part)
    header: list[Content] = ["class", "support"]
    for number, summary in enumerate(summaries):
        header += [f"recall, {summary.name}", f"F1, {summary.name}"] + (["difference of F1"] if number else [])
    rows: list[list[Content]] = []
    for name in names:
        found = [part.get(name) for part in scores]
        base = found[0].f1 if found[0] else None
        row: list[Content] = [name_of(name), whole(found[0].support) if found[0] else MISSING]
        for number, score in enumerate(found):
            f1 = score.f1 if score else None
            row += [percent(score.recall if score else None), decimal(f1)]
            if number:
                row.append(MISSING if f1 is None or base is None else f"{f1 - base:+.4f}".replace("-", "\u2212"))
        rows.append(row)
    return table("Classes, run by run", header, rows, "sortable numbers")


def _column(summary: Summary) -> dict[str, Content]:
    """What a run's column says, by row."""
    run = summary.run
    hash_ = shown(str(weights_of(summary).get("sha256", MISSING)))[:HASH_DIGITS]
    versions = shown(", ".join(f"{package} {version}" for package, version in versions_of(summary).items()))
    return {
        "accuracy": tag("b", percent(summary.accuracy)),
        "95 % confidence interval": interval(summary.interval),
        "images": f"{whole(summary.total)}, {run.split} split",
        "loss": decimal(run.results["test"].get("loss")),
        "F1, mean of the classes": decimal(summary.f1),
        "ECE": decimal(summary.ece),
        **{f"training images/s, {name}": whole(speed) for name, speed in summary.speeds.items()},
        "framework": shown(run.framework),
        "seed": shown(str(run.results.get("seed", MISSING))),
        "weights, SHA-256": tag("code", hash_),
        "versions": tag("span", versions, class_="fact"),
    }


def _sentence(first: Summary, other: Summary, pair: Pair) -> str:
    if not pair.common:
        return (
            f"{other.name} and {first.name} have no tested image in common, so they cannot be compared image by image."
        )
    better = "as good as" if not pair.difference else "better than" if pair.difference > 0 else "worse than"
    size = f"{100 * abs(pair.difference):.2f} percentage points " if pair.difference else ""
    verdict = "more than noise" if pair.p < NOISE else "not more than noise"
    return (
        f"{other.name} is {size}{better} {first.name} on {counted(pair.common, 'common image')}: it alone is right on "
        f"{whole(pair.only_second)}, {first.name} alone on {whole(pair.only_first)}. The difference is {verdict} "
        f"({p_value(pair.p)})."
    )
