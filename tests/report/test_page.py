"""The page as a file: everything it promises is in it, names are text, and it stays small."""

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from reported import CLASSES, Row, draw, rows_of, write_metrics, write_run

from lightning_tl.report import page
from lightning_tl.report.page import LIMIT, write_report

EVIL = [
    "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "\"><b onload='alert(3)'>", "=1+1", "'q",
    "$body $data ${title}", "new\nline", "\x1b[31m", os.fsdecode(b"caf\xe9"), "\u202egnp.x", "x" * 255, "&lt;i&gt;",
    "]]>", "<!--", "javascript:alert(4)", "__proto__", "constructor",
]  # fmt: skip


class Reader(HTMLParser):
    """Tags, attributes and text of a page; the contents of script and style apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.raw:
            self.raw[self._inside].append(data)
        else:
            self.text += data

    @property
    def data(self) -> Any:
        return json.loads(self.raw["script"][0])


def read(path: Path) -> Reader:
    return Reader(path.read_text(encoding="utf-8"))


def test_one_run_is_told_whole(tmp_path: Path) -> None:
    rows = rows_of()
    train = [("train", "daisy/t.png", "daisy"), ("train", "rose/t.png", "rose")]
    root = draw(tmp_path / "images", [row[1] for row in rows] + [row[1] for row in train])
    shutil.copy(root / "daisy" / "t.png", root / "daisy" / "0.png")
    shutil.copy(root / "tulip" / "1.png", root / "rose" / "1.png")
    found = read(write_report([write_run(tmp_path / "run", rows, root=root, train=train)]))
    for words in (
        "83.33\u202f%", "95 % confidence interval 60.8\u202f\u2013\u202f94.2\u202f% (Wilson)",
        "15 of 18 validation images right",
        "0.4321", "ab" * 32, "1 picture is in more than one split", "train: daisy/t.png", "val: daisy/0.png",
        "1 picture is in more than one class", "val: rose/1.pngval: tulip/1.png",
        "over 15 bins of equal width", "2.15.0", "head", "finetune", "123",
        "There are no Grad-CAM overlays", "phases:\n- head",
    ):  # fmt: skip
        assert words in found.text, words
    assert found.data["classes"] == list(CLASSES)
    assert found.data["runs"][0]["cells"] == {
        "val": [[n, m, c] for n in range(3) for m, c in ((n, 5), ((n + 1) % 3, 1))]
    }
    items = found.data["items"]
    assert len(items) == len(found.data["pictures"]) == 18
    assert [item[3][0][0] != item[2] for item in items[:4]] == [True, True, True, False]


def test_the_phase_boundary_is_drawn_where_the_next_phase_begins(tmp_path: Path) -> None:
    found = read(write_report([write_run(tmp_path / "run", rows_of())]))
    lines = [attributes for tag, attributes in found.tags if tag == "line" and attributes.get("class") == "boundary"]
    assert len(lines) == 2, "in both charts"
    epochs = [
        attributes for tag, attributes in found.tags if tag == "rect" and "epoch 3" in str(attributes.get("data-tip"))
    ]
    assert {line["x1"] for line in lines} == {band["x"] for band in epochs}
    assert "epoch 3 (finetune)\nvalidation 0.7600\ntraining 0.7100" in [e["data-tip"] for e in epochs]


def test_a_long_run_is_thinned(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of(), phases=[{"name": "head", "epochs": 1000}])
    write_metrics(folder / "metrics.csv", 1000)
    found = read(write_report([folder]))
    assert "Of 1000 epochs one in 4 is shown." in found.text
    tips = [str(attributes["data-tip"]) for _, attributes in found.tags if "data-tip" in attributes]
    epochs = [tip.split()[1] for tip in tips if tip.startswith("epoch ")]
    assert epochs == [str(number) for number in range(4, 1001, 4)] * 2


def test_without_images_the_page_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of(), root=tmp_path / "gone")
    for name in ("metrics.csv", "split.csv"):
        (folder / name).unlink()
    found = read(write_report([folder]))
    for words in ("Caution: the original images cannot be reached", "not checked", "no metrics.csv", "no split.csv"):
        assert words in found.text
    assert found.data["pictures"] == []


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of(), test={"split": "val", "accuracy": 0.99, "loss": float("nan")})
    assert "results.json says 99.00\u202f% accuracy, predictions.csv 83.33\u202f%" in read(write_report([folder])).text


def test_a_run_that_went_on_and_has_not_ended_since_is_noticed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of())
    assert "has not come to its end" not in read(write_report([folder])).text
    for epochs in (5, 3):  # from the last checkpoint, or from an earlier one
        write_metrics(folder / "metrics.csv", epochs)
        words = (
            f"metrics.csv ends with epoch {epochs}, results.json speaks of 4 epochs: the run was resumed and has not"
        )
        assert words in read(write_report([folder])).text


def test_a_phase_that_stopped_early_is_no_run_without_an_end(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of(), phases=[{"name": "a", "epochs": 1}, {"name": "b", "epochs": 2}])
    write_metrics(folder / "metrics.csv", 3)
    assert "has not come to its end" not in read(write_report([folder])).text


def test_augmented_epochs_are_counted_as_in_the_curves(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of())
    draw(folder / "pictures", ["augmented.jpg"])
    columns = ["original", "epoch 0", "epoch 9", "draw 0", "epoch 1 of 2", "epoch " + "9" * 5000]
    listed = {"augmented": {"file": "augmented.jpg", "rows": [0], "columns": columns}}
    (folder / "pictures" / "pictures.json").write_text(json.dumps(listed))
    words = "Columns: original, epoch 1, epoch 10, draw 0, epoch 1 of 2, epoch 999"
    assert words in read(write_report([folder])).text


def test_several_runs_are_compared(tmp_path: Path) -> None:
    rows = rows_of(each=40)
    better: list[Row] = [(s, path, label, label, c) for s, path, label, _, c in rows]
    worse: list[Row] = [(s, p, t, CLASSES[0] if t == "rose" else y, c) for s, p, t, y, c in rows]
    folders = [
        write_run(tmp_path / name, part) for name, part in (("base", rows), ("better", better), ("worse", worse))
    ]
    keras = write_run(tmp_path / "keras", rows, framework="keras-jax")
    found = read(write_report([*folders, keras]))
    assert "base, better, worse, keras: the original images cannot be reached" in found.text
    assert (
        "better is 2.50 percentage points better than base on 120 common images: it alone is right on 3, base alone on "
        "0. The difference is not more than noise (p = 0.25)." in found.text
    )
    assert "worse is 32.50 percentage points worse than base" in found.text
    assert "The difference is more than noise (p < 0.001)." in found.text
    assert "keras is as good as base on 120 common images" in found.text
    assert "keras-jax" in found.text
    assert [run["name"] for run in found.data["runs"]] == ["base", "better", "worse", "keras"]
    assert found.data["disputed"] == [42] * 4
    assert all(len(item[3]) == len(item[5]) == 4 for item in found.data["items"])


def test_runs_without_a_common_image_are_not_compared(tmp_path: Path) -> None:
    other = [(split, f"other/{path}", label, predicted, c) for split, path, label, predicted, c in rows_of()]
    folders = [write_run(tmp_path / "a", rows_of()), write_run(tmp_path / "b", other)]
    assert "b and a have no tested image in common" in read(write_report(folders)).text


def test_hostile_names_are_text(tmp_path: Path) -> None:
    """No tag, attribute or script of the page depends on what the files say."""
    rows = [(split, path.replace("/", "_") + "<b>", *rest) for split, path, *rest in rows_of(EVIL, each=2)]
    hostile = write_run(
        tmp_path / "<i>run", rows, EVIL, root="<u>", versions={"<s>torch": "</pre><script>x"}, framework="<u>f",  # type: ignore[arg-type]
        weights={"source": "<svg onload=alert(1)>", "sha256": "<b>"}, seed="</title>",
        phases=[{"name": "<tspan>", "epochs": 2, "images_per_second": "<q>"}, {"name": "x", "epochs": "<b>"}],
    )  # fmt: skip
    plain = write_run(
        tmp_path / "plain", rows_of([f"c{n}" for n in range(len(EVIL))], each=2), [f"c{n}" for n in range(len(EVIL))]
    )
    for folders in ([hostile], [hostile, plain]):
        found = read(write_report(folders))
        names = {tag for tag, _ in found.tags}
        assert not names & {"img", "u", "s", "q", "tspan", "iframe"}
        assert [tag for tag, _ in found.tags].count("script") == 2
        assert not [a for _, attributes in found.tags for a in attributes if a.startswith("on") or a == "style"]
        assert {a.get("href", "#")[:1] for tag, a in found.tags if tag == "a"} == {"#"}
        for name in (
            "<img src=x onerror=alert(1)>",
            "$body $data ${title}",
            r"new\nline",
            r"caf\udce9",
            r"\u202egnp.x",
        ):
            assert name in found.text
            assert name in found.data["classes"]


def test_the_policy_allows_exactly_this_style_and_script(tmp_path: Path) -> None:
    text = write_report([write_run(tmp_path / "run", rows_of())]).read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    style, script = (
        re.search(pattern, text, re.DOTALL) for pattern in ("<style>(.*?)</style>", "<script>(.*?)</script>")
    )
    assert style is not None
    assert script is not None
    assert policy == (
        f"default-src 'none'; img-src data:; style-src {page._source(style[1])}; script-src {page._source(script[1])}; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.findall(r"(?:https?:)?//[a-z]", text.replace("// ", ""))


def test_ten_thousand_images_of_a_hundred_classes_stay_below_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the predictions are wrong, and every thumbnail is as large as noise makes it."""
    classes = [f"a rather long class name, number {number}" for number in range(100)]
    rows: list[Row] = []
    for number in range(10_000):
        label = classes[number % 100]
        predicted = label if number % 2 else classes[number * 7 % 100]
        rows.append(("val", f"{label}/{number:05} {'long name ' * 12}.jpg", label, predicted, 0.3 + number / 20_000))
    run = write_run(tmp_path / "run", rows, classes)
    noise = (draw(tmp_path, ["noise.jpg"], size=(112, 112)) / "noise.jpg").read_bytes()
    monkeypatch.setattr("lightning_tl.report.pictures.Pictures.thumbnail", lambda *_: noise)
    monkeypatch.setattr("lightning_tl.report.pictures.Pictures.gradcam", lambda *_: noise)
    path = write_report([run])
    assert LIMIT / 10 < path.stat().st_size < LIMIT == 5_000_000
    data = read(path).data
    assert 100 < len(data["items"]) < 10_000
    assert sum(count for _, _, count in data["runs"][0]["cells"]["val"]) == 10_000


def test_a_page_that_is_too_large_gets_fewer_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(each=30)
    root = draw(tmp_path / "images", [row[1] for row in rows])
    run = write_run(tmp_path / "run", rows, root=root)
    whole = write_report([run]).stat().st_size
    monkeypatch.setattr(page, "ROOMS", (3_000_000, 60_000, 0))
    monkeypatch.setattr(page, "LIMIT", whole)
    assert write_report([run]).stat().st_size < whole
    monkeypatch.setattr(page, "LIMIT", 10_000)
    with pytest.raises(ValueError, match="about this run of 3 classes would pass 10000 bytes, even without pictures"):
        write_report([run])
    other = write_run(tmp_path / "other", rows)
    with pytest.raises(ValueError, match="about these 2 runs would pass 10000 bytes. Give fewer runs"):
        write_report([run, other])


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows_of())
    assert (
        write_report([run], tmp_path / "a.html").read_bytes() == write_report([run], tmp_path / "b.html").read_bytes()
    )


def test_each_run_has_an_image_in_a_split_of_its_own(tmp_path: Path) -> None:
    """By which the gallery filters the images of the run that is looked at."""
    rows = rows_of()
    test = [("test", *row[1:]) for row in rows]
    folders = [write_run(tmp_path / "a", rows), write_run(tmp_path / "b", test)]
    items = read(write_report(folders)).data["items"]
    assert {tuple(answer[3] for answer in item[3]) for item in items} == {("val", "test")}


def test_a_run_that_diverged_says_so(tmp_path: Path) -> None:
    rows = rows_of()
    values = {"accuracy": sum(row[2] == row[3] for row in rows) / len(rows), "loss": None, "split": "val"}
    text = read(write_report([write_run(tmp_path / "a", rows, test=values)])).text
    assert "the loss of the weights that were kept is no finite number: training has diverged" in text
    assert "training has diverged" not in read(write_report([write_run(tmp_path / "b", rows)])).text
