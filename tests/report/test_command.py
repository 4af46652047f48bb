"""The command: where it writes, what it prints, how it refuses; without torch."""

import subprocess
import sys
from pathlib import Path

import pytest
from reported import rows_of, write_run

from lightning_tl import command


def run(*words: str | Path) -> int:
    return command.main(["report", *map(str, words)])


def test_one_run_gets_its_report_and_several_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (write_run(tmp_path / name, rows_of()) for name in ("a", "b"))
    assert run(first) == 0
    assert capsys.readouterr().out == f"report: {first / 'report.html'}\n"
    assert run(first, second) == 0
    assert capsys.readouterr().out == f"report: {first / 'comparison.html'}\n"
    assert run(first, second, "--output", tmp_path / "new" / "x.html") == 0
    assert (tmp_path / "new" / "x.html").read_bytes() == (first / "comparison.html").read_bytes()
    assert {path.name for path in second.iterdir()} == {path.name for path in first.iterdir()} - {
        "report.html", "comparison.html",
    }  # fmt: skip


def test_a_link_is_written_through(tmp_path: Path) -> None:
    folder, page = write_run(tmp_path / "a", rows_of()), tmp_path / "www" / "page.html"
    (tmp_path / "link.html").symlink_to(page)
    for _ in range(2):
        assert run(folder, "--output", tmp_path / "link.html") == 0
        assert (tmp_path / "link.html").is_symlink()
        assert page.read_text(encoding="utf-8").startswith("<!")
        page.write_text("old")


def test_bad_input_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "a", rows_of())
    assert run(tmp_path / "none\n") == 2
    assert capsys.readouterr().err.startswith("lightning-tl: error: RUN: ")
    monkeypatch.chdir(folder)
    assert run("") == 2
    assert "RUN: a run folder is needed; an unset shell variable gives none. Received: ''." in capsys.readouterr().err
    assert run(folder, "--output", tmp_path) == 2
    assert "is a folder. Give a file." in capsys.readouterr().err
    assert run(folder, "--output", folder / "results.json" / "x.html") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_it_needs_no_torch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rows_of())
    code = (
        "import sys; from lightning_tl.command import main; assert main(sys.argv[1:]) == 0; "
        "assert not {'torch', 'lightning', 'keras', 'matplotlib', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "report", folder], check=True, capture_output=True)
