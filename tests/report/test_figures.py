"""Every figure of the page stands under its own head: no two of a run are equal here, so that an exchange shows."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from reported import Row, write_run

from lightning_tl.report import measures
from lightning_tl.report.numbers import decimal, interval, percent
from lightning_tl.report.page import write_report

TALLY = {("daisy", "daisy"): 3, ("daisy", "rose"): 1, ("rose", "rose"): 2, ("rose", "daisy"): 2, ("tulip", "tulip"): 2}
"""Images by true and predicted class: of daisy 4, of which 3 are recognised among 5 that are taken for it."""
BETTER = {("daisy", "daisy"): 4, ("rose", "rose"): 3, ("rose", "tulip"): 1, ("tulip", "tulip"): 1, ("tulip", "rose"): 1}


def tallied(tally: dict[tuple[str, str], int]) -> list[Row]:
    """Each a little less confident than the one before."""
    rows: list[Row] = []
    for (label, predicted), count in tally.items():
        for _ in range(count):
            number = sum(row[2] == label for row in rows)
            confidence = 0.9 - 0.05 * len(rows)
            rows.append(("val", f"{label}/{number}.png", label, predicted, confidence))
    return rows


def elsewhere(split: str, tally: dict[tuple[str, str], int]) -> list[Row]:
    """The same images in another split, under other names."""
    return [(split, f"{split}/{path}", label, predicted, said) for _, path, label, predicted, said in tallied(tally)]


class Page(HTMLParser):
    """Tables with their captions, tiles, and the lines of charts by class."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.tiles: list[list[str]] = []
        self.lines: list[tuple[str, str]] = []
        self._rows: list[list[str]] = []
        self._texts: list[str] | None = None
        self._group = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("caption", "th", "td") or (tag == "p" and given.get("class") in ("what", "figure")):
            self._texts = []
        elif tag == "g":
            self._group = str(given.get("class"))
        elif tag == "path" and given.get("class") == "curve":
            self.lines.append((self._group, str(given["d"])))

    def handle_endtag(self, tag: str) -> None:
        text = "".join(self._texts or ())
        if tag == "caption":
            self.tables.append((text, self._rows))
        elif tag in ("th", "td"):
            self._rows[-1].append(text)
        elif tag == "p" and self._texts is not None:
            self.tiles.append([text])
        if tag in ("caption", "th", "td", "p"):
            self._texts = None

    def handle_data(self, data: str) -> None:
        if self._texts is not None:
            self._texts.append(data)

    def table(self, caption: str) -> dict[str, dict[str, str]]:
        """By row and column."""
        (found,) = [rows for name, rows in self.tables if name == caption]
        head, *rows = found
        return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", tallied(TALLY))


def test_the_tiles_say_what_they_are(run: Path) -> None:
    found = Page(write_report([run])).tiles
    tiles = {name[0]: figure[0] for name, figure in zip(found[::2], found[1::2], strict=True)}
    said = [(row[4], row[2] == row[3]) for row in tallied(TALLY)]
    assert tiles["Accuracy on the validation split"] == percent(0.7)
    assert tiles["F1"] == decimal((6 / 9 + 4 / 7 + 1) / 3)
    assert tiles["ECE"] == decimal(measures.calibration_error(measures.calibration(said)))
    assert tiles["Loss"] == "0.4321"


def test_the_table_of_classes(run: Path) -> None:
    found = Page(write_report([run])).table("run, val split")
    wanted = {"precision": percent(3 / 5), "recall": percent(3 / 4), "F1": decimal(6 / 9), "support": "4"}
    assert found["daisy"] == {"class": "daisy", **wanted, "95 % CI of recall": interval(measures.wilson(3, 4))}
    assert (found["rose"]["precision"], found["rose"]["recall"]) == (percent(2 / 3), percent(2 / 4))


def test_the_bins_as_tables(run: Path) -> None:
    (table,) = [rows for _, rows in Page(write_report([run])).tables if rows[0][:2] == ["confidence", "images"]]
    known = {row[0]: row[1:] for row in table[1:]}
    assert table[0] == ["confidence", "images", "mean confidence", "accuracy"]
    assert known["0.867 to 0.933"] == ["1", "0.9000", "1.0000"]
    assert known["0.667 to 0.733"] == ["1", "0.7000", "1.0000"]
    assert known["0.733 to 0.800"] == ["2", "0.7750", "0.5000"]


def test_the_curves_and_their_table(run: Path) -> None:
    """As ``write_metrics`` has it, accuracy is lower in training by 0.05, and the loss as much higher."""
    page = Page(write_report([run]))
    (first, *_) = [row for _, rows in page.tables for row in rows if row[:2] == ["1", "head"]]
    assert first == ["1", "head", decimal(0.45), decimal(0.4), percent(0.55), percent(0.6)]
    heights = {
        (chart, group.split()[0]): float(path[1:].split("L")[0].split()[1])
        for chart, lines in (("loss", page.lines[:2]), ("accuracy", page.lines[2:4]))
        for group, path in lines
    }
    assert heights["loss", "training"] < heights["loss", "held-out"], "a picture's height is counted from its top"
    assert heights["accuracy", "training"] > heights["accuracy", "held-out"]


def test_two_runs_side_by_side(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", tallied(BETTER))
    page = Page(write_report([run, other]))
    against = page.table("Against run")["other"]
    assert (against["right in run alone"], against["right in this alone"]) == ("1", "2")
    assert (against["images of both"], against["both right"]) == ("10", "6")
    classes = page.table("Classes, run by run")
    f1 = {"run": 6 / 9, "other": 1.0}
    assert classes["daisy"]["F1, run"] == decimal(f1["run"])
    assert classes["daisy"]["F1, other"] == decimal(f1["other"])
    assert classes["daisy"]["recall, run"] == percent(3 / 4)
    assert classes["daisy"]["difference of F1"] == "+0.3333"
    assert classes["tulip"]["difference of F1"] == "\u22120.5000"


def test_every_other_split_has_an_accuracy_of_its_own(tmp_path: Path) -> None:
    test, train = {("daisy", "daisy"): 1, ("rose", "tulip"): 3}, {("daisy", "daisy"): 3, ("rose", "tulip"): 1}
    rows = [*tallied(TALLY), *elsewhere("test", test), *elsewhere("train", train)]
    told = {"validation": percent(7 / 10), "test": percent(1 / 4), "train": percent(3 / 4)}
    for split, name in (("val", "validation"), ("test", "test")):
        page = write_report([write_run(tmp_path / split, rows, test={"split": split})]).read_text(encoding="utf-8")
        assert [f"{other} split: {share} (" in page for other, share in told.items()] == [n != name for n in told]


def test_runs_are_compared_on_the_split_that_they_were_tested_on(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / name, [*tallied(TALLY), *elsewhere("test", tally)], test={"split": "test"})
        for name, tally in (("run", TALLY), ("other", BETTER))
    ]
    against = Page(write_report(folders)).table("Against run")["other"]
    heads = ("images of both", "right in run alone", "right in this alone")
    assert [against[head] for head in heads] == ["10", "1", "2"]
