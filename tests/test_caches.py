"""Where files are kept that can be made again."""

from pathlib import Path

import pytest

from lightning_tl.caches import FOLDER_VARIABLE, default_folder


def test_where_the_files_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "given"))
    assert default_folder() == tmp_path / "given"
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "lightning_tl"
