"""Two reports of one machine as one: what a run has not measured, an earlier one lends, and the page says so."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.machine import DifferentMachinesError, require_same_machine

Content = Mapping[str, Any]

TABLES = ("rows", "validation", "ceiling", "agreement")
"""Blocks that are joined row by row."""
BLOCKS = ("validation", "startup", "loading", "time_to_accuracy", "growth", "scaling", "means")
"""Of measures beside the rows, which a run may leave to an earlier one."""
BESIDE = tuple(block for block in BLOCKS if block not in TABLES)
"""Those of them that are joined framework by framework: all rows of one, in one precision, are of the same run."""
NEEDED = ("machine", "versions", "settings", "weights", "load", "refused", "left_out", *TABLES)
"""What every report has."""
FOR_ACCURACY = ("accuracy", "epochs", "anew")
"""Settings that the time to an accuracy alone depends on; they may change where that is measured anew."""


def merge(new: Content, old: Content, accuracy: bool = False) -> dict[str, Any]:
    """The blocks of ``new``, and those of ``old`` that were not measured anew; of rows, framework by framework.

    Rows that are lent are marked ``earlier``; ``lent`` names tables that are so as a whole, ``further`` those that
    were measured by runs without rows of their own, for the rows of an earlier one, and ``commits`` all there were.

    Args:
        new: what a run has measured, or has so far.
        old: an earlier report.
        accuracy: whether that run measures the time to an accuracy, be it later.

    Raises:
        DifferentMachinesError: they are of different machines, versions or settings.
    """
    require_same_machine(new, old)
    for block in ("versions", "settings", "weights"):
        require_same_block(block, new, old, accuracy or bool(new.get("time_to_accuracy")))
    old = _without_other_accuracy(old, new)
    measured = {key: value for key, value in new.items() if value not in ({}, [])}
    if not new["rows"]:  # the load is that of the rows
        measured.pop("load", None)
    tables = _tables(new, old)
    kept = any("earlier" in row for row in tables["rows"])
    blocks = [block for block in BLOCKS if block in measured]
    lent = {block for block in BLOCKS if new["rows"] and old.get(block)} | set(old.get("lent", ()))
    lent -= set(blocks)
    further = set(old.get("further", ())) | set(() if new["rows"] else blocks)
    joined = {
        **old, **measured, **tables,
        **{block: _of_frameworks(new[block], old.get(block, [])) for block in blocks if block in BESIDE},
        "earlier_load": _earlier_load(old, bool(new["rows"])) if kept else {},
        "lent": sorted(lent),
        "further": sorted(further - lent - set(blocks if new["rows"] else ())),
        "commits": sorted({*old.get("commits", ["unknown"]), *new.get("commits", ["unknown"])}),
    }  # fmt: skip
    return _without_refused(joined)


def require_same_block(block: str, new: Content, old: Content, accuracy: bool) -> None:
    """Raise DifferentMachinesError where ``block`` of two reports differs, naming what does.

    ``accuracy``: whether the time to an accuracy is measured anew, on which some settings have an effect alone.
    """
    free = FOR_ACCURACY if accuracy else ()
    differs = [
        f"{name} {new[block].get(name)} against {old[block].get(name)}"
        for name in {**new[block], **old[block]}
        if name not in free and new[block].get(name) != old[block].get(name)
    ]
    if differs:
        raise DifferentMachinesError(f"reports with different {block} are not joined: {', '.join(differs)}.")


def _without_other_accuracy(old: Content, new: Content) -> Content:
    """``old``, without the time to an accuracy where ``new`` has other settings for that."""
    if all(old["settings"].get(name) == new["settings"].get(name) for name in FOR_ACCURACY):
        return old
    names = {key: [block for block in old.get(key, ()) if block != "time_to_accuracy"] for key in ("lent", "further")}
    return {**old, **names, "time_to_accuracy": []}


def _earlier_load(old: Content, anew: bool) -> dict[str, list[float]]:
    """The load of the runs that have lent rows; of several the larger figures, as rows of each may be left.

    ``anew``: whether rows were measured anew; otherwise ``old`` keeps its load, which is not an earlier one's.
    """
    before: dict[str, list[float]] = old.get("earlier_load") or {}
    if not anew:
        return before
    return {
        name: [max(both) for both in zip(figures, before.get(name, figures), strict=True)]
        for name, figures in old["load"].items()
    }


def _tables(new: Content, old: Content) -> dict[str, Any]:
    """What is joined row by row: figures, verdicts, and what was refused or left out."""
    joined = {
        # Verdicts on the timed steps are of the rows: where these stay the report's own, so do those.
        block: _joined(new.get(block, []), old.get(block, []), bool(new["rows"]) or block != "agreement")
        for block in TABLES
    }
    if not new["rows"]:  # what is measured are parts beside the rows, which stay the report's own
        joined["rows"] = list(old["rows"])
    for block in ("rows", "validation"):
        joined[block] = [_ratio_that_holds(row, joined[block]) for row in joined[block]]
    asked = {_key(row) for row in (*new["rows"], *new.get("agreement", ()))} | {
        item["framework"] for block in ("refused", "left_out") for item in new[block] if "framework" in item
    }
    gone = {
        "refused": asked - (_still_refused(new, old) - {item["framework"] for item in new["refused"]}),
        "left_out": asked,
    }
    for block, anew in gone.items():
        kept = [item for item in old[block] if item.get("framework") not in anew and not _again(item, new)]
        joined[block] = [*new[block], *kept]
    return joined


def _still_refused(new: Content, old: Content) -> set[str]:
    """Keys of those that disagreed with a Keras, and have not been held against one in the same way since."""

    def by_keras(rows: Sequence[Content]) -> set[tuple[str, str, str]]:
        return {(_key(row), row["phase"], row["kind"]) for row in rows if row["reference"].startswith("keras-")}

    failed = by_keras([row for row in old["agreement"] if not row["passed"]])
    return {key for key, *_ in failed - by_keras(new.get("agreement", ()))}


def _again(item: Content, new: Content) -> bool:
    """Whether a measure that was left out has been taken since."""
    measure = str(item.get("measure"))
    return bool(new.get("time_to_accuracy" if measure == "accuracy" else measure))


def _joined(new: Sequence[Content], old: Sequence[Content], marked: bool) -> list[dict[str, Any]]:
    """All of ``new``, after the rows of ``old`` without a counterpart; those are marked where there are new ones."""

    def place(row: Content) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in ("framework", "precision", "phase", "source", "kind", "reference"))

    measured = {place(row) for row in new}
    mark = {"earlier": True} if new and marked else {}
    return [*({**row, **mark} for row in old if place(row) not in measured), *map(dict, new)]


def _of_frameworks(new: Sequence[Content], old: Sequence[Content]) -> list[dict[str, Any]]:
    """All of ``new``, before the rows that ``old`` has of other frameworks and precisions, marked."""

    def whose(row: Content) -> tuple[Any, ...]:
        return row.get("framework"), row.get("precision")  # a row of the means has no framework

    measured = {whose(row) for row in new}
    return [*map(dict, new), *({**row, "earlier": True} for row in old if whose(row) not in measured)]


def _ratio_that_holds(row: dict[str, Any], rows: Sequence[Content]) -> dict[str, Any]:
    """A row of the new run, without its ratio where a Keras that is lent is faster than what it was compared with."""
    if row.get("earlier") or row.get("fastest_keras") is None:
        return row
    there = [
        other
        for other in rows
        if (other["family"], other["phase"], other["source"]) == ("keras", row["phase"], row["source"])
        and other["precision"] in ("float32", row["precision"])
    ]
    compared = [other["images_per_second"] for other in there if _key(other) == row["fastest_keras"]]
    lent = [other["images_per_second"] for other in there if other.get("earlier")]
    faster = max(lent, default=0.0) > max(compared, default=0.0)
    return {**row, "ratio_to_fastest_keras": None, "fastest_keras": None, "ratio_spread": None} if faster else row


def _without_refused(content: dict[str, Any]) -> dict[str, Any]:
    """No figure of a framework that is refused: fast and wrong does not count, whenever it was measured."""
    refused = {item["framework"] for item in content["refused"]}
    return {
        **content,
        **{
            block: [row for row in content[block] if "framework" not in row or _key(row) not in refused]
            for block in ("rows", *BLOCKS)
            if block in content
        },
    }


def _key(row: Content) -> str:
    return f"{row['framework']} {row['precision']}"
