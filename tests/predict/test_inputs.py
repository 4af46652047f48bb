"""Paths from files, folders, globs and standard input."""

import glob
import os
import pickle
import random
import sys
import tempfile
from itertools import islice
from pathlib import Path

import pytest
from predicting import Stdin

from lightning_tl.data.folder import list_images
from lightning_tl.errors import InputError
from lightning_tl.predict import inputs
from lightning_tl.predict.inputs import PathStream

NAMES = ["a.jpg", "a-1.jpg", "a b.JPG", "a0.png", "b.txt", ".hidden.jpg", "z[1].jpg", "é.gif", "-x.jpg", "1e3.jpg"]
FOLDERS = ["", "a", "a/b", "a-1", "a.jpg.d", ".secret", "B", "z[1]", "deep/er/still"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files whose paths sort otherwise than their parts do, links, a hidden folder; it is the current folder."""
    generator = random.Random(0)
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in generator.sample(NAMES, 6):
            (tmp_path / folder / name).touch()
    (tmp_path / "a" / "circle").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "file.jpg").symlink_to(tmp_path / "a-1")
    (tmp_path / "a" / "gone.jpg").symlink_to(tmp_path / "gone")
    (tmp_path / "a" / "loop.jpg").symlink_to("loop.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes, null: bool = False) -> list[str]:
    monkeypatch.setattr(sys, "stdin", Stdin(content))
    return list(PathStream(["-"], null))


@pytest.mark.parametrize("root", [".", "a", "a/", "./a", "deep"])
def test_a_folder_gives_what_list_images_gives(tree: Path, root: str) -> None:
    assert list(PathStream([root])) == list(list_images(root))
    assert list(PathStream([str(tree / root)])) == list(list_images(tree / root))


def test_images_of_formats_that_are_not_read_are_paths_to_be_reported(tree: Path) -> None:
    names = {"deep/scan.tif", "deep/er/phone.HEIC"}
    for name in (*names, "deep/.hidden.tif", "deep/words.txt"):
        (tree / name).touch()
    read = set(PathStream(["deep"]))
    assert names < read
    with pytest.warns(UserWarning, match="2 images are left out, in a format that is not read"):
        assert read - names == set(list_images("deep"))


@pytest.mark.parametrize(
    "pattern",
    ["*.jpg", "a/*", "*/*.jpg", "**/*.jpg", "a/**", "**/b/**/*", "**/**/*.png", "*/b/../*.jpg", "a*/*[0-9]*", "./*.jpg",
     "**", ".*/*.jpg", "[!a]*/?.jpg", "deep/*/still/*.jpg", "deep/**/*.jpg"],
)  # fmt: skip
def test_a_glob_gives_the_files_that_pythons_gives_sorted(tree: Path, pattern: str) -> None:
    """But for links to folders behind ``**``, which Python follows round and round."""
    for link in ("circle", "file.jpg"):
        (tree / "a" / link).unlink()
    expected = sorted(
        {
            path
            for path in glob.glob(pattern, recursive=True)  # noqa: PTH207
            if not Path(path).is_dir()
        }
    )
    if ".." in pattern:
        expected = []  # no name of an entry; Python asks the system
    assert list(PathStream([pattern])) == expected


def test_a_pattern_of_folders_is_refused(tree: Path) -> None:
    """A shell would make folders of it, whose images would all be meant."""
    with pytest.raises(InputError, match=r"PATH: a pattern matches files. Received: '\*/'; give '\*/\*\*'"):
        list(PathStream(["*/"]))
    assert list(PathStream(["*/**"]))


def test_a_circle_of_links_is_not_walked(tree: Path) -> None:
    assert not [path for path in PathStream(["**/*.jpg"]) if "circle" in path]
    assert [path for path in PathStream(["a/*/*.jpg"]) if "circle" in path], "a part of its own may be a link"


def test_words_in_their_order_and_as_often_as_given(tree: Path) -> None:
    first = next(iter(PathStream(["a"])))
    names = [path.name for path in tree.glob("*.jpg")]
    stream = PathStream([first, "B", first, "./" + names[0]])
    assert list(stream) == [first, *list_images("B"), first, "./" + names[0]]
    assert stream.taken == PathStream(stream.words).count() == len(list_images("B")) + 3


def test_an_existing_name_is_no_glob(tree: Path) -> None:
    assert list(PathStream(["z[1]"])) == list(list_images("z[1]"))
    (tree / "x[1].jpg").touch()
    (tree / "x1.jpg").touch()
    assert list(PathStream(["x[1].jpg"])) == ["x[1].jpg"]
    assert list(PathStream(["x[1]*.jpg"])) == ["x1.jpg"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no such file or folder. Received: 'nowhere'"),
        (["a", "*.tiff"], r"no file matches the pattern. Received: '\*.tiff'"),
        (["phtos/*.jpg"], r"no file matches the pattern. Received: 'phtos/\*.jpg'"),
        (["B", "a.txt/*.png"], r"no file matches the pattern. Received: 'a.txt/\*.png'"),
        (["empty"], "the folder holds no image"),
        (["a", ""], "PATH: a file, folder, glob or -; an unset shell variable gives none. Received: ''."),
        (["a", "-"], "-, a list on standard input, stands alone. Received: 'a -'"),
    ],
)
def test_words_that_lead_nowhere(tree: Path, words: list[str], said: str) -> None:
    (tree / "empty").mkdir()
    (tree / "a.txt").touch()
    with pytest.raises(InputError, match=said):
        PathStream(words).check()


def test_null_without_a_list() -> None:
    with pytest.raises(InputError, match="null: it tells how the list on standard input is written"):
        PathStream(["a"], null=True)


def test_a_folder_that_cannot_be_listed_is_a_path_to_be_reported(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, whole = os.scandir, list_images("a")

    def scandir(path: str) -> object:
        if path.startswith("a/b"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(PathStream(["a"])) == sorted([*(path for path in whole if not path.startswith("a/b/")), "a/b"])
    assert list(PathStream(["a/b/*.jpg"])) == ["a/b"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions as POSIX has them")
def test_a_folder_that_nobody_may_look_into_is_a_path_to_be_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """By real permissions, which bind everybody but root."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.chdir(folder)
        Path("locked").mkdir(mode=0o000)
        try:
            if user == 0:
                os.seteuid(65534)
            assert list(PathStream(["locked"])) == ["locked"]
            assert list(PathStream(["locked/*.png"])) == ["locked"]
            assert list(PathStream(["gone/*.png"])) == []
        finally:
            os.seteuid(user)
            Path("locked").chmod(0o755)


def test_standard_input_keeps_the_bytes_of_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    assert feed(monkeypatch, b"b.jpg\n\na \xff\xe9.jpg\r\n a.jpg\nb.jpg") == [
        "b.jpg", os.fsdecode(b"a \xff\xe9.jpg\r"), " a.jpg", "b.jpg",
    ]  # fmt: skip
    assert feed(monkeypatch, b"new\nline.jpg\0\0b.jpg\0", null=True) == ["new\nline.jpg", "b.jpg"]
    assert feed(monkeypatch, b"") == []


def test_paths_across_blocks_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_PATH", 7)
    names = [b"x" * length for length in (1, 7, 3, 7, 7, 2, 6, 5, 4)]
    assert feed(monkeypatch, b"\n".join(names)) == [name.decode() for name in names]


@pytest.mark.parametrize(
    ("content", "null", "said"),
    [
        (b"a.jpg\nb.jpg\0c.jpg\0", False, "path 2 of the list on standard input holds a NUL. .*--null true"),
        (b"a.jpg\n" + b"x" * 2**17, False, "path 2 of .* is longer than 65536 bytes"),
        (b"a.jpg\n" * 2**15, True, "path 1 of .* is longer than 65536 bytes. Give one path a line."),
    ],
)
def test_what_is_no_list(monkeypatch: pytest.MonkeyPatch, content: bytes, null: bool, said: str) -> None:
    with pytest.raises(InputError, match=said):
        feed(monkeypatch, content, null)


def test_a_pickled_stream_continues_where_it_was(tree: Path) -> None:
    stream = PathStream(["."])
    begun = list(islice(stream, 3))
    copy = pickle.loads(pickle.dumps(stream))
    assert list(copy) == list(stream) == list(list_images("."))[len(begun) :]
