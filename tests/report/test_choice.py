"""Of too many images the most telling stay."""

from pathlib import Path

from reported import Row, rows_of, write_run

from lightning_tl.report.choice import choose, join
from lightning_tl.report.run import read_run
from lightning_tl.report.summary import compare


def test_confident_mistakes_come_first_and_every_cell_has_some(tmp_path: Path) -> None:
    classes = [f"class {number}" for number in range(8)]
    rows: list[Row] = [("val", f"m{n}", classes[0], classes[1], 0.5 + n / 1000) for n in range(400)]
    rows += [("val", f"h{n}", classes[0], classes[0], 0.5 + n / 1000) for n in range(400)]
    rows += [("val", f"c{n}", classes[n], classes[(n + 3) % 8], 0.4) for n in range(8)]
    items = join([read_run(write_run(tmp_path / "run", rows, classes))])
    chosen = choose(items, most=300)
    assert len({item.path for item in chosen}) == len(chosen) == 300
    assert [item.path for item in chosen[:3]] == ["m399", "m398", "m397"]
    paths = {item.path for item in chosen}
    assert {f"h{n}" for n in range(60)} <= paths, "the least certain hits"
    assert {f"c{n}" for n in range(8)} <= paths, "some of every cell"
    assert [item.path for item in choose(items, most=10_000)].count("h399") == 1
    assert len(choose(items, most=10_000)) == len(items)


def test_runs_are_joined_by_path_and_true_class(tmp_path: Path) -> None:
    first = read_run(write_run(tmp_path / "a", rows_of(each=3)))
    other: list[Row] = [("val", "daisy/0.png", "daisy", "rose", 0.9), ("val", "daisy/1.png", "rose", "rose", 0.9)]
    second = read_run(write_run(tmp_path / "b", other))
    items = {(item.path, item.label): item for item in join([first, second])}
    assert len(items) == 10
    assert items["daisy/0.png", "daisy"].disputed
    assert [answer is None for answer in items["daisy/1.png", "rose"].answers] == [True, False]
    pair = compare(first, second)
    assert (pair.common, pair.only_first, pair.only_second, pair.both) == (1, 1, 0, 0)
    assert pair.difference == -1


def test_runs_take_turns(tmp_path: Path) -> None:
    runs = []
    for number in range(2):
        rows: list[Row] = [("val", f"{number}-{n}", "daisy", "rose", 0.5 + n / 100) for n in range(40)]
        runs.append(read_run(write_run(tmp_path / str(number), rows)))
    assert [item.path for item in choose(join(runs), most=4)] == ["0-39", "1-39", "0-38", "1-38"]
