"""What a run folder says of its run: written when training starts, wherever the logs go."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from calling import CONFIG, fails, run, short_fit
from lightning.pytorch.loggers import Logger
from training import PHASES, draw_images

FILES = ("config.yaml", "split.csv")


class Silent(Logger):
    """Logs nothing, and has no folder."""

    name, version = "silent", 0

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copied(workplace: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    """``run`` in ``tmp_path``, a copy of the finished run; the words that resume it with another batch size."""
    shutil.copytree(workplace / "run", tmp_path / "run")
    words = ("--data.root", workplace / "images", "--ckpt_path", "run/checkpoints/best.ckpt")
    return ("fit", "--config", workplace / "config.yaml", *words, "--data.batch_size", "7")


def test_a_run_that_is_not_resumed_after_all_keeps_what_it_says(copied: tuple[str | Path, ...], tmp_path: Path) -> None:
    before = contents(tmp_path / "run")
    (tmp_path / "phases.yaml").write_text(yaml.safe_dump({"phases": [{**PHASES[0], "name": "warmup"}]}))
    assert "Resume with the run's own phases" in fails(*copied, "--config", "phases.yaml", cwd=tmp_path)
    assert contents(tmp_path / "run") == before, "and its logs and checkpoints"
    assert "trainer.max_epochs" in fails(*copied, "--trainer.max_epochs", "3", cwd=tmp_path)
    assert all((tmp_path / "run" / name).read_bytes() == before[tmp_path / "run" / name] for name in FILES)


def test_a_run_with_nothing_left_to_train_says_what_it_is(workplace: Path, tmp_path: Path) -> None:
    """In the folder of a checkpoint that lies alone."""
    (tmp_path / "alone" / "checkpoints").mkdir(parents=True)
    shutil.copy(workplace / "run/checkpoints/last.ckpt", tmp_path / "alone/checkpoints/last.ckpt")
    words = ("--config", workplace / "config.yaml", "--data.root", workplace / "images", "--pictures", "false")
    run("fit", *words, "--ckpt_path", "alone/checkpoints/last.ckpt", cwd=tmp_path)
    assert (tmp_path / "alone/split.csv").read_bytes() == (workplace / "run/split.csv").read_bytes()
    assert yaml.safe_load((tmp_path / "alone/config.yaml").read_text())["phases"][0]["name"] == "head"


def test_a_resumed_run_says_what_it_said_and_runs_again_where_it_was_moved_to(tmp_path: Path) -> None:
    draw_images(tmp_path / "here/images")
    short_fit(tmp_path / "here", "--pictures", "false", root="images")
    before = (tmp_path / "here/run/config.yaml").read_text()
    again = ("fit", "--config", "run/config.yaml", "--ckpt_path")
    run(*again, "last", cwd=tmp_path / "here")
    assert (tmp_path / "here/run/config.yaml").read_text() == before
    (tmp_path / "here").rename(tmp_path / "there")
    run(*again, "run/checkpoints/last.ckpt", cwd=tmp_path / "there")
    assert run(*again[:3], cwd=tmp_path / "there").out.endswith("run folder: run/run_1\n")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    "logger",
    [
        {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "logs"}},
        {"class_path": "test_runfiles.Silent"},
    ],
    ids=["elsewhere", "nowhere"],
)
def test_loggers_of_ones_own_leave_the_run_folder_whole(tmp_path: Path, logger: dict[str, Any]) -> None:
    draw_images(tmp_path / "images")
    (tmp_path / "logger.yaml").write_text(yaml.safe_dump({"trainer": {**CONFIG["trainer"], "logger": logger}}))
    short_fit(tmp_path, "--config", "logger.yaml", "--pictures", "false", root="images")
    assert {*FILES, "results.json"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert not list(tmp_path.glob("logs/**/config.yaml"))
