"""Folders that are whole or absent."""

import errno
import os
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from lightning_tl.files import at_home, behind_links, new_folder, write_text


def test_a_folder_is_there_when_the_block_has_ended(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "folder") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner/file").write_text("text")
        assert not (tmp_path / "deep/folder").exists()
    assert (tmp_path / "deep/folder/inner/file").read_text() == "text"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]


def test_nothing_is_left_of_a_block_that_fails_or_of_a_killed_process(tmp_path: Path) -> None:
    (tmp_path / ".folder").mkdir()
    (tmp_path / ".folder/half").touch()

    def fail() -> None:
        with new_folder(tmp_path / "folder") as temporary:
            assert not list(temporary.iterdir())
            (temporary / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_in_its_place_stays(tmp_path: Path, kind: str) -> None:
    there = tmp_path / "there"
    there.write_text("mine") if kind == "file" else (there / "mine").mkdir(parents=True)
    with pytest.raises(OSError, match="there"), new_folder(there) as temporary:
        (temporary / "file").touch()
    assert [path.name for path in tmp_path.rglob("*")] == (["there"] if kind == "file" else ["there", "mine"])


def test_where_links_lead(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "one").symlink_to("there")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "gone").symlink_to("deep/nowhere")
    assert behind_links(tmp_path / "two") == tmp_path.resolve() / "there"
    assert behind_links(tmp_path / "gone") == tmp_path.resolve() / "deep" / "nowhere"
    assert behind_links("x/../y") == Path("x/../y"), "no link is left as it is given"


@pytest.mark.parametrize(("error", "refused"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_drives_that_cannot_flush_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, refused: bool
) -> None:
    """As those of Windows under WSL, and network drives; one that fails is no such drive."""
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(error, "a folder")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="a folder") if refused else nullcontext():
        write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_users_home_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert [at_home(path) for path in ("~/runs", "~", "./~/x", "a~", "~nobody-of-this-name/x")] == [
        "/home/me/runs", "/home/me", "./~/x", "a~", "~nobody-of-this-name/x",
    ]  # fmt: skip
