"""Run folders are read whole, or refused with what to do."""

import json
from pathlib import Path

import pytest
from reported import CLASSES, rows_of, write_run

from lightning_tl.errors import InputError
from lightning_tl.report.run import read_run, read_runs


def test_a_run_folder_is_read(tmp_path: Path) -> None:
    rows = [*rows_of(), *rows_of(each=2, split="test")]
    run = read_run(write_run(tmp_path / "run", rows, test={"split": "test", "accuracy": 0.5}))
    assert (run.name, run.classes, run.split, run.framework) == ("run", CLASSES, "test", "lightning")
    assert (len(run.predictions), len(run.tested)) == (24, 6)
    assert [phase["name"] for phase in run.phases] == ["head", "finetune"]
    assert run.data == {"root": None}


def test_optional_files_may_be_gone(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of())
    for name in ("metrics.csv", "split.csv", "config.yaml"):
        (folder / name).unlink()
    run = read_run(folder)
    assert (run.epochs, run.samples, run.config, dict(run.data)) == ((), None, None, {})


@pytest.mark.parametrize("config", ["data: [", "- a list", "data: text", "!!python/object:os.x {}"])
def test_a_config_that_is_none_says_nothing(tmp_path: Path, config: str) -> None:
    folder = write_run(tmp_path / "run", rows_of())
    (folder / "config.yaml").write_text(config)
    assert read_run(folder).data == {}


@pytest.mark.parametrize("file", ["results.json", "predictions.csv"])
def test_a_folder_without_results_is_refused(tmp_path: Path, file: str) -> None:
    folder = write_run(tmp_path / "run", rows_of())
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"run' has no {file}, which fit writes at its end. Give"):
        read_run(folder)
    with pytest.raises(InputError, match="no folder. Give a run folder"):
        read_run(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "needs the keys phases, test, classes"),
        ('{"phases": [], "test": 3, "classes": ["a"]}', "needs the keys"),
        ('{"phases": [3], "test": {}, "classes": ["a"]}', "phases is a list of objects"),
        ('{"phases": [], "test": {}, "classes": [3]}', "classes is a list of names"),
    ],
)
def test_other_results_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = write_run(tmp_path / "run", rows_of())
    (folder / "results.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_run(folder)


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of(), test={"split": "test"})
    with pytest.raises(InputError, match="has no image of the split 'test'"):
        read_run(folder)


def test_several_runs_get_names_of_their_own(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, rows_of()) for name in ("a/run", "b/run", "c")]
    assert [run.name for run in read_runs(paths)] == ["a/run", "b/run", "c"]
    with pytest.raises(InputError, match="is given twice"):
        read_runs([paths[0], paths[1], tmp_path / "b" / ".." / "a" / "run"])


def test_values_of_results_may_be_anything(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of(), weights=None, versions=3, seed="<b>", framework=None)
    assert json.loads((folder / "results.json").read_text())["versions"] == 3
    assert read_run(folder).framework == "None"
