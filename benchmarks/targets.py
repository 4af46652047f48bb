"""What lightning-tl should reach, and whether it did: from the content of a report alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import Any

from benchmarks.rounds import middle
from benchmarks.settings import CACHE

Row = Mapping[str, Any]

AGAINST_KERAS = {
    ("float32", "head", "resident"): 2.2,
    ("float32", "finetune", "resident"): 1.9,
    ("mixed", "head", "resident"): 2.7,
    ("mixed", "finetune", "resident"): 2.2,
    ("float32", "head", "files"): 1.5,
    ("float32", "finetune", "files"): 1.5,
}
"""Times the fastest Keras of the same run, on 2 CPU cores with batches of 32 images of 160 pixels."""
ON_A_GPU = 4.0
"""Times each Keras of the same precision, in training on one GPU, whatever the batch."""
BACKENDS = ("torch", "jax", "tensorflow")
OURS, PLAIN = "lightning-tl", "plain-lightning"
OF_CEILING, OF_CEILING_ON_A_GPU = 0.85, 0.7
OF_RESIDENT = 0.95
"""Speed from files, which after the first epoch are kept decoded, over that of images in memory."""


@dataclass(frozen=True)
class Target:
    """A promise and what became of it.

    Attributes:
        what: in words.
        wanted: at least this.
        found: measured; None where the run did not measure it, infinite where plain Lightning did not get there.
        by: the row that counts, in words.
        rounds: what each round by itself would have said; empty where they are not known.
    """

    what: str
    wanted: float
    found: float | None
    by: str
    rounds: Sequence[float] = ()

    @property
    def verdict(self) -> str:
        """``met``, ``missed`` or ``not measured``."""
        return "not measured" if self.found is None else "met" if self.found >= self.wanted else "missed"


def all_targets(content: Mapping[str, Any], bfloat16: bool) -> list[Target]:
    """Every target, measured or not; what is of an earlier run does not count, nor does mixed without bfloat16.

    Args:
        content: of a report.
        bfloat16: whether the processor, or the GPU that computes, has it.
    """
    gpu = "gpu" in content.get("machine", {})
    rows, validation, startup, accuracy, loading = (
        [row for row in own_rows(content, block) if bfloat16 or row["precision"] != "mixed"]
        for block in ("rows", "validation", "startup", "time_to_accuracy", "loading")
    )
    return [
        *(_against_each_keras(rows) if gpu else _against_keras(rows)),
        *_of_ceiling(rows, own_rows(content, "ceiling"), OF_CEILING_ON_A_GPU if gpu else OF_CEILING),
        *_files_of_resident(rows, loading),
        _against_plain([*rows, *validation]),
        _sooner_than_plain("first steps", startup, ("first_step_seconds", "first_finetune_step_seconds")),
        _sooner_than_plain("time to an accuracy", accuracy, ("seconds",)),
    ]


def own_rows(content: Mapping[str, Any], block: str) -> list[Row]:
    """What the report's own run measured of a block, without what an earlier one has lent."""
    return [row for row in marked_rows(content, block) if not row.get("earlier")]


def marked_rows(content: Mapping[str, Any], block: str) -> list[Row]:
    """All rows of a block; ``earlier`` are those that an earlier run has lent, by themselves or as a whole table."""
    mark = {"earlier": True} if block in content.get("lent", ()) else {}
    return [{**row, **mark} for row in content.get(block, [])]


def best(rows: Sequence[Row], family: str, precision: str, phase: str, source: str) -> Row | None:
    """The fastest row of a family in one place."""
    found = [
        row
        for row in rows
        if (row["family"], row["precision"], row["phase"], row["source"]) == (family, precision, phase, source)
    ]
    return max(found, key=lambda row: row["images_per_second"], default=None)


def _against_keras(rows: Sequence[Row]) -> Iterator[Target]:
    for (precision, phase, source), wanted in AGAINST_KERAS.items():
        row = best(rows, OURS, precision, phase, source)
        found = row["ratio_to_fastest_keras"] if row else None
        by = f"{row['framework']} against {row['fastest_keras']}" if row and found else ""
        keras = [other for other in rows if row and _key(other) == row["fastest_keras"] and _beside(other, row)]
        each = _ratios(row, keras[0]) if row and keras else ()
        yield Target(f"{precision}, {phase}, {source}: times the fastest Keras", wanted, found, by, each)


def _against_each_keras(rows: Sequence[Row]) -> Iterator[Target]:
    for precision, phase, backend in product(("float32", "mixed"), ("head", "finetune"), BACKENDS):
        ours = best(rows, OURS, precision, phase, "resident")
        keras = [row for row in rows if _place(row) == (f"keras-{backend}", precision, phase, "resident")]
        each = _ratios(ours, keras[0]) if ours and keras else ()
        what = f"{precision}, {phase}, resident: times Keras on {backend}"
        yield Target(what, ON_A_GPU, middle(each) if each else None, ours["framework"] if ours and keras else "", each)


def _ratios(row: Row, other: Row) -> list[float]:
    """Speed over speed round by round, of two rows of the same rounds."""
    return [a / b for a, b in zip(row["rounds"], other["rounds"], strict=True)]


def _of_ceiling(rows: Sequence[Row], ceilings: Sequence[Row], wanted: float) -> Iterator[Target]:
    for precision in ("float32", "mixed"):
        for phase in ("head", "finetune"):
            row = best(rows, OURS, precision, phase, "resident")
            ceiling = best(ceilings, "ceiling", precision, phase, "resident")
            found = row["fraction_of_ceiling"] if row else None
            name = row["framework"] if row else ""
            each = _ratios(row, ceiling) if row and ceiling else ()
            yield Target(f"{precision}, {phase}, resident: fraction of the ceiling", wanted, found, name, each)


def _files_of_resident(rows: Sequence[Row], loading: Sequence[Row]) -> Iterator[Target]:
    """Of the same rounds where they were measured so, of two tables else; of another cache the table alone tells."""
    together = {(row["precision"], row["phase"]): row for row in loading if row.get("cache", CACHE) == CACHE}
    for precision in ("float32", "mixed"):
        for phase in ("head", "finetune"):
            row = together.get((precision, phase))
            by = f"{row['framework']}, in the same rounds" if row else ""
            found, by = (row["fraction"], by) if row else _of_two_tables(rows, precision, phase)
            each = row.get("rounds", ()) if row else ()
            yield Target(f"{precision}, {phase}, files: fraction of resident", OF_RESIDENT, found, by, each)


def _of_two_tables(rows: Sequence[Row], precision: str, phase: str) -> tuple[float | None, str]:
    """Speed from files over that from memory, and whose."""
    files = best(rows, OURS, precision, phase, "files")
    same = [row for row in rows if files and _place(row) == (files["framework"], precision, phase, "resident")]
    if files is None or not same:
        return None, files["framework"] if files else ""
    return files["images_per_second"] / same[0]["images_per_second"], f"{files['framework']}, medians of two tables"


def _place(row: Row) -> tuple[str, str, str, str]:
    return row["framework"], row["precision"], row["phase"], row["source"]


def _key(row: Row) -> str:
    return f"{row['framework']} {row['precision']}"


def _beside(row: Row, other: Row) -> bool:
    """Whether both are of the same phase and source."""
    return (row["phase"], row["source"]) == (other["phase"], other["source"])


def _against_plain(rows: Sequence[Row]) -> Target:
    """The slowest place counts: never slower."""
    found: list[tuple[float, str, list[float]]] = []
    for row in rows:
        plain = best(rows, PLAIN, row["precision"], row["phase"], row["source"])
        if row["family"] == OURS and plain is not None:
            each = _ratios(row, plain)
            found.append((middle(each), f"{_key(row)}, {row['phase']}, {row['source']}", each))
    least, place, rounds = min(found, default=(None, "", []))
    return Target("everywhere: times plain Lightning, at its worst", 1.0, least, place, rounds)


def _sooner_than_plain(what: str, rows: Sequence[Row], measures: Sequence[str]) -> Target:
    """The same for what is measured in seconds, of lightning-tl as it is by default.

    Where neither got there, nothing is compared.
    """
    seconds = {(row["framework"], row["precision"], name): row[name] for row in rows for name in measures}
    found: list[tuple[float, str]] = []
    for (framework, precision, name), plain in seconds.items():
        own = seconds.get((OURS, precision, name))  # None where it was not reached
        if framework == PLAIN and (OURS, precision, name) in seconds and (own, plain) != (None, None):
            measure = name.removesuffix("seconds").replace("_", " ").strip()
            never = "which plain Lightning did not reach" if plain is None else ""
            ratio = 0.0 if own is None else inf if plain is None else plain / own
            found.append((ratio, ", ".join(filter(None, [precision, measure, never]))))
    least, place = min(found, default=(None, ""))
    return Target(f"{what}: times plain Lightning, at its worst (medians)", 1.0, least, place)
