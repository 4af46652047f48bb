"""Chunks, their manifest, and what becomes of a result that ends at any point."""

import errno
import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from lightning_tl.errors import InputError
from lightning_tl.predict.formats import make_format
from lightning_tl.predict.inputs import PathStream
from lightning_tl.predict.partial import LOCK, MANIFEST, Partial, State, opened
from lightning_tl.predict.result import Chunks, Lines, put_in_place
from lightning_tl.predict.text_formats import TextFormat

CLASSES = ("a", "b")
STEP = 2
SETTINGS = {"top_k": 0, "classes": list(CLASSES)}


def entries(count: int) -> list[tuple[str, str]]:
    return [(f"{number}.jpg", "=bad" if number % 5 == 3 else "") for number in range(count)]


def values(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 2), dtype=np.float32)


def go_on(partial: Partial, count: int, until: int | None = None) -> None:
    """Write what is left of ``count`` paths, or up to some path without saying that it was the last."""
    chunks = Chunks(partial, make_format("x.csv", CLASSES, 0))
    try:
        for first in range(partial.state.paths, count if until is None else until, STEP):
            chunks.write(entries(count)[first : first + STEP], values(count)[first : first + STEP])
        if until is None:
            chunks.close()
    finally:
        chunks.drop()


def make(folder: Path, **settings: object) -> Partial:
    return Partial(folder / "x.csv.partial", {**SETTINGS, **settings}, 2 * STEP)


def result(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def whole(folder: Path, partial: Partial, count: int) -> dict[str, bytes]:
    output, errors = folder / "x.csv", folder / "x.errors.csv"
    with opened(partial, output, errors, resume=True, overwrite=False):
        if not partial.state.finished:
            go_on(partial, count)
        put_in_place(partial, make_format("x.csv", CLASSES, 0), output, errors, overwrite=False)
    return result(folder)


@pytest.mark.parametrize("count", [0, 1, 4, 9, 12])
def test_a_result_of_chunks_is_one_file(tmp_path: Path, count: int) -> None:
    files = whole(tmp_path, make(tmp_path), count)
    rows = files["x.csv"].decode().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [path for path, reason in entries(count) if not reason]
    bad = [f"{path},'=bad" for path, reason in entries(count) if reason]
    assert files.get("x.errors.csv", b"path,reason\n").decode().splitlines() == ["path,reason", *bad]
    assert files.keys() == ({"x.csv", "x.errors.csv"} if bad else {"x.csv"}), "no folder is left"


@pytest.mark.parametrize("until", [0, 2, 4, 6, 8, 10])
def test_ended_at_any_step_the_result_is_the_same(tmp_path: Path, until: int) -> None:
    expected = whole(tmp_path, make(tmp_path), 11)
    folder = tmp_path / "again"
    folder.mkdir()
    first = make(folder)
    with opened(first, folder / "x.csv", folder / "x.errors.csv", resume=True, overwrite=False):
        go_on(first, 11, until)
    second = make(folder)
    assert whole(folder, second, 11) == expected
    assert second.state.paths == 11


def test_ended_between_the_last_renames_the_result_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every rename and removal in turn: what follows it has not happened."""
    expected = whole(tmp_path, make(tmp_path), 11)
    for moment in range(12):
        folder = tmp_path / str(moment)
        folder.mkdir()
        left = [moment]

        def act(original, *args, left=left, **options):  # noqa: ANN001, ANN002, ANN003, ANN202
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return original(*args, **options)

        partial = make(folder)
        with opened(partial, folder / "x.csv", folder / "x.errors.csv", resume=True, overwrite=False):
            go_on(partial, 11)
            with monkeypatch.context() as patch:
                for name in ("replace", "unlink"):
                    original = getattr(Path, name)
                    patch.setattr(Path, name, lambda *args, o=original, **options: act(o, *args, **options))
                try:
                    form, errors = make_format("x.csv", CLASSES, 0), folder / "x.errors.csv"
                    put_in_place(partial, form, folder / "x.csv", errors, overwrite=False)
                    ended = True
                except KeyboardInterrupt:
                    ended = False
        if not ended and (folder / "x.csv.partial" / MANIFEST).exists():
            whole(folder, make(folder), 11)
        found = {name: content for name, content in files_of(folder).items() if name in expected}
        assert found == expected, moment


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_other_settings_do_not_continue(tmp_path: Path) -> None:
    first = make(tmp_path)
    with opened(first, tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=False):
        go_on(first, 11, 6)
    second = make(tmp_path, top_k=2, classes=["c"] * 50)
    with (
        pytest.raises(InputError, match=r"unfinished result of other settings \(top_k: 0, now 2; classes: .*\.\.\.\)"),
        opened(second, tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=False),
    ):
        pass
    with opened(second, tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=False, overwrite=False):
        assert second.state == State()
    assert {path.name for path in (tmp_path / "x.csv.partial").iterdir()} == {MANIFEST, LOCK}


def test_before_the_first_chunk_there_is_nothing_to_continue(tmp_path: Path) -> None:
    for top_k in (0, 1):
        partial = make(tmp_path, top_k=top_k)
        with opened(partial, tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=False):
            go_on(partial, 11, 2)


def test_a_damaged_manifest(tmp_path: Path) -> None:
    partial = make(tmp_path)
    partial.folder.mkdir()
    for content in ("{", "[]", '{"state": {"unknown": 1}, "settings": {}}'):
        (partial.folder / MANIFEST).write_text(content)
        with pytest.raises(InputError, match=r"manifest.json is damaged .*--resume false"):
            partial.load()


def test_an_output_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("precious")
    with (
        pytest.raises(InputError, match="the file is there already. Replace it with --overwrite true"),
        opened(make(tmp_path), tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=False),
    ):
        pass
    assert result(tmp_path) == {"x.csv": b"precious"}
    partial = make(tmp_path)
    with opened(partial, tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=True):
        go_on(partial, 11, 6)
    assert (tmp_path / "x.csv").read_text() == "precious", "until the new one is whole"
    with (
        pytest.raises(InputError, match="the file is there already"),
        opened(make(tmp_path), tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=False),
    ):
        pass


def test_errors_of_another_result_are_kept(tmp_path: Path) -> None:
    """Of x.parquet, whose list has the same name."""
    errors = tmp_path / "x.errors.csv"
    errors.write_text("precious")
    with (
        pytest.raises(InputError, match=r"there already. Replace it with --overwrite true.*x\.errors\.csv"),
        opened(make(tmp_path), tmp_path / "x.csv", errors, resume=True, overwrite=False),
    ):
        pass
    assert errors.read_text() == "precious"
    partial = make(tmp_path)
    with opened(partial, tmp_path / "x.csv", errors, resume=True, overwrite=True):
        go_on(partial, 2)
        put_in_place(partial, make_format("x.csv", CLASSES, 0), tmp_path / "x.csv", errors, overwrite=True)
    assert not errors.exists()


@pytest.mark.parametrize("count", [2, 11])
def test_errors_of_another_result_that_ends_sooner_are_kept(tmp_path: Path, count: int) -> None:
    """With a list of its own and without."""
    expected = whole(tmp_path, make(tmp_path), count)
    folder = tmp_path / "again"
    folder.mkdir()
    errors, partial = folder / "x.errors.csv", make(folder)
    with opened(partial, folder / "x.csv", errors, resume=True, overwrite=False):
        go_on(partial, count)
        errors.write_text("precious")
        for _ in range(2):
            with pytest.raises(InputError, match="the list of another result, .*; what is done is kept"):
                put_in_place(partial, make_format("x.csv", CLASSES, 0), folder / "x.csv", errors, overwrite=False)
    assert errors.read_text() == "precious"
    assert not (folder / "x.csv").exists()
    errors.unlink()
    assert whole(folder, make(folder), count) == expected


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    partial = make(tmp_path)
    partial.folder.mkdir()
    (partial.folder / "thesis.txt").write_text("precious")
    for resume in (True, False):
        with (
            pytest.raises(InputError, match="it holds something else: 'thesis.txt'"),
            opened(partial, tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=resume, overwrite=True),
        ):
            pass
    assert (partial.folder / "thesis.txt").read_text() == "precious"


def test_a_folder_in_the_place_of_the_output(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with (
        pytest.raises(InputError, match="output: it is a folder"),
        opened(make(tmp_path), tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=True),
    ):
        pass


def try_to_open(folder: Path, said: "multiprocessing.Queue[str]") -> None:
    try:
        with opened(make(folder), folder / "x.csv", folder / "x.errors.csv", resume=True, overwrite=False):
            said.put("opened")
    except InputError as error:
        said.put(str(error))


def test_two_processes_do_not_write_to_one_result(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    said = context.Queue()
    with opened(make(tmp_path), tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=False):
        process = context.Process(target=try_to_open, args=(tmp_path, said))
        process.start()
        assert "another process is writing" in said.get(timeout=30)
        process.join()
    process = context.Process(target=try_to_open, args=(tmp_path, said))
    process.start()
    assert said.get(timeout=30) == "opened"
    process.join()


def test_the_paths_that_are_done_must_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [path for path, _ in entries(11)]
    for name in names:
        Path(name).touch()
    partial = make(tmp_path)
    with opened(partial, tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=False):
        go_on(partial, 11, 8)
    stream = PathStream(names)
    partial.skip(stream)
    assert list(stream) == names[8:]
    partial.skip(PathStream([*names, "0.jpg"]))  # what is not done may change
    for changed in (names[1:], names[:7], [*names[:2], names[3], names[2], *names[4:]], []):
        with pytest.raises(InputError, match="PATH no longer gives the same ones"):
            partial.skip(PathStream(changed))
    with opened(partial, tmp_path / "x.csv", tmp_path / "x.errors.csv", resume=True, overwrite=False):
        go_on(partial, 11)
    partial.skip(PathStream(names))
    with pytest.raises(InputError, match="holds the results of 11 paths"):
        partial.skip(PathStream([*names, "0.jpg"]))


def test_nobody_reads_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    form = make_format("-", CLASSES, 1)
    assert isinstance(form, TextFormat)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(InputError, match="nobody reads standard output any more"):
            Lines(form).write(entries(2), values(2))


def test_a_full_disk_is_told_and_what_is_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = whole(tmp_path, make(tmp_path), 11)
    folder = tmp_path / "full"
    folder.mkdir()
    partial = make(folder)

    def full(descriptor: int) -> None:
        if partial.state.paths >= 8:
            raise OSError(28, "No space left on device")

    with (
        opened(partial, folder / "x.csv", folder / "x.errors.csv", resume=True, overwrite=False),
        monkeypatch.context() as patch,
    ):
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="output: .*x.csv.partial cannot be written: No space left on device"):
            go_on(partial, 11)
    assert json.loads((partial.folder / MANIFEST).read_text())["state"]["paths"] == 4
    assert whole(folder, make(folder), 11) == expected
    shutil.rmtree(folder)


def test_a_lock_that_cannot_be_removed_while_it_is_held_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows keeps open files."""
    unlink = Path.unlink

    def keep_open(path: Path, missing_ok: bool = False) -> None:
        if path.name == LOCK:
            raise PermissionError(errno.EACCES, "it is open", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", keep_open)
    partial, output, errors = make(tmp_path), tmp_path / "x.csv", tmp_path / "x.errors.csv"
    with opened(partial, output, errors, resume=True, overwrite=False):
        go_on(partial, 2 * STEP)
        put_in_place(partial, make_format("x.csv", CLASSES, 0), output, errors, overwrite=False)
    assert [path.name for path in partial.folder.iterdir()] == [LOCK]
    assert output.is_file()
