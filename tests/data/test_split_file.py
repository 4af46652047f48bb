import sys
from pathlib import Path

import pytest

from lightning_tl.data.folder import Sample, scan
from lightning_tl.data.split_file import read_split, write_split
from lightning_tl.errors import InputError

HOSTILE = [
    "a,b",
    'say "hi"',
    "line\nbreak",
    "carriage\rreturn",
    "both\r\nof them",
    " spaces ",
    "ünï",
    "'",
    "\t",
    "#",
]


def written(path: Path, *rows: str, header: str = "split,path,label") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_plain_rows_are_plain(tmp_path: Path) -> None:
    write_split(tmp_path / "split.csv", [Sample("train", "a/1.jpg", "a"), Sample("val", "b/x y.jpg", "b")])
    assert (tmp_path / "split.csv").read_bytes() == b"split,path,label\ntrain,a/1.jpg,a\nval,b/x y.jpg,b\n"


@pytest.mark.parametrize("name", [*HOSTILE, "caf\udce9", "\udcff\udcfe"])
def test_hostile_names_come_back_exactly(tmp_path: Path, name: str) -> None:
    samples = tuple(Sample(split, f"{name}/{name}.jpg", name) for split in ("train",))
    write_split(tmp_path / "split.csv", samples)
    assert read_split(tmp_path / "split.csv", root=None) == samples


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such file names")
def test_hostile_files_on_disk_come_back_exactly(tmp_path: Path) -> None:
    for name in [*HOSTILE, "caf\udce9"]:
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / f"{name}.jpg").write_bytes(b"")
    samples = scan(tmp_path / "root")
    write_split(tmp_path / "split.csv", samples)
    assert len(samples) == len(HOSTILE) + 1
    assert read_split(tmp_path / "split.csv", tmp_path / "root") == samples


def test_row_order_is_kept_and_excels_bom_ignored(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(b"\xef\xbb\xbfsplit,path,label\r\nval,b/1.jpg,b\r\ntrain,a/1.jpg,a\r\n\r\n")
    assert read_split(path, None) == (Sample("val", "b/1.jpg", "b"), Sample("train", "a/1.jpg", "a"))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv' does not exist. Set data.split to stratified, keras"):
        read_split(tmp_path / "gone.csv", tmp_path)


@pytest.mark.parametrize("header", ["path,split,label", "split,path", "train,a/1.jpg,a", ""])
def test_wrong_header(tmp_path: Path, header: str) -> None:
    path = written(tmp_path / "split.csv", "train,a/1.jpg,a", header=header)
    with pytest.raises(InputError, match=r"split\.csv' must begin with the header split,path,label. Received: "):
        read_split(path, None)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("")
    with pytest.raises(InputError, match="Received: 'an empty file'"):
        read_split(tmp_path / "split.csv", None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("training,a/1.jpg,a", "row 2: split must be one of train, val, test. Received: 'training'"),
        ("train,a/1.jpg", r"row 2: expected 3 fields \(split, path, label\). Received: 2"),
        ("train,a/1.jpg,", "row 2: the label is empty"),
        (
            "train,../1.jpg,a",
            r"row 2: paths are relative to data.root and stay below it. Received: '\.\./1.jpg'",
        ),
        ("train,a/../../1.jpg,a", "stay below it"),
        ("train,/etc/1.jpg,a", "stay below it. Received: '/etc/1.jpg'"),
        ('train,"a/1.jpg,a', "no valid CSV"),
    ],
)
def test_bad_rows(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_split(written(tmp_path / "split.csv", row), None)


def test_duplicates(tmp_path: Path) -> None:
    path = written(tmp_path / "split.csv", "train,a/1.jpg,a", "val,a//1.jpg,a", "val,a/2.jpg,a")
    with pytest.raises(InputError, match=r"lists images more than once: 'a/1\.jpg'\.$"):
        read_split(path, None)


def test_paths_that_do_not_exist_are_counted(tmp_path: Path) -> None:
    (tmp_path / "kept.jpg").write_bytes(b"")
    path = written(tmp_path / "split.csv", "train,kept.jpg,a", *(f"train,{n}.jpg,a" for n in range(7)))
    with pytest.raises(
        InputError, match=r"lists 7 of 8 images that do not exist .*'0\.jpg', .* and 2 more\. Put them back"
    ):
        read_split(path, tmp_path)
    (tmp_path / "kept.jpg").unlink()
    with pytest.raises(
        InputError,
        match=r"lists 8 of 8 .* Give the root that the file was made for; validate and test measure every image",
    ):
        read_split(path, tmp_path)
