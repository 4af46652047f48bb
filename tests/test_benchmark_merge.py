"""``scripts/benchmark.py --merge``: what it refuses before it measures, and what a run that is ended leaves."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from benchmarked import TINY, command, made_up, made_up_ground

from benchmarks.joining import BLOCKS, NEEDED
from benchmarks.machine import describe_machine
from benchmarks.settings import Settings

OURS, KERAS = {"framework": "lightning-tl", "precision": "float32"}, {"framework": "keras-jax", "precision": "float32"}


def test_the_command_refuses_another_machine_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = {**describe_machine(1), "cpu": "another"}
    (tmp_path / "old.json").write_text(json.dumps({**made_up(), "machine": machine}))
    assert command().main(["--quick", "--threads", "1", "--merge", str(tmp_path / "old.json")]) == 2
    assert capsys.readouterr().err.startswith("benchmark: error: runs on different machines are not compared: cpu")


def test_the_command_refuses_other_settings_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {**made_up(), "settings": asdict(replace(Settings().quick(), threads=1, warmup=9))}
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert command().main(["--quick", "--threads", "1", "--merge", str(tmp_path / "old.json")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmark: error: reports with different settings are not joined: warmup ")
    assert error.endswith(" against 9.\n")


@pytest.mark.parametrize(("block", "name"), [("versions", "torch"), ("weights", "weights_sha256")])
def test_the_command_refuses_other_versions_and_weights_before_it_measures(
    block: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, content = command(), made_up()
    settings = asdict(replace(Settings().quick(), threads=1))
    (tmp_path / "old.json").write_text(
        json.dumps({**content, "settings": settings, block: {**content[block], name: "another"}})
    )
    monkeypatch.setattr(script, "prepare", lambda *options: made_up_ground(TINY, tmp_path))
    monkeypatch.setattr(script, "run", lambda *options: pytest.fail("it measures"))
    args = ["--quick", "--threads", "1", "--merge", str(tmp_path / "old.json"), "--output", str(tmp_path)]
    assert script.main(args) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"benchmark: error: reports with different {block} are not joined: {name} ")
    assert error.endswith(" against another.\n")


def test_another_accuracy_does_not_end_a_run_that_has_yet_to_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = command()
    content = {**made_up(), "settings": asdict(replace(Settings().quick(), threads=1))}
    ours, keras = ({**row, "target": 0.8, "seconds": 2.0} for row in (OURS, KERAS))
    old = {**content, "settings": {**content["settings"], "accuracy": 0.5}, "time_to_accuracy": [keras]}
    (tmp_path / "old.json").write_text(json.dumps(old))

    def measured(ground: Any, frameworks: Any, measures: Any, keep: Any) -> dict[str, Any]:
        keep(content)
        return {**content, "time_to_accuracy": [ours]}

    monkeypatch.setattr(script, "run", measured)
    monkeypatch.setattr(script, "prepare", lambda *options: made_up_ground(TINY, tmp_path))
    script.main(["--quick", "--threads", "1", "--merge", str(tmp_path / "old.json"), "--output", str(tmp_path)])
    assert json.loads((tmp_path / "benchmark.json").read_text())["time_to_accuracy"] == [ours]


def test_a_file_that_is_no_report_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"machine": describe_machine(1)}))
    assert command().main(["--quick", "--merge", str(tmp_path / "old.json")]) == 2
    missing = ", ".join(NEEDED[1:])
    assert capsys.readouterr().err.endswith(f"Received: {tmp_path / 'old.json'}, without {missing}.\n")


def test_a_run_that_goes_on_from_a_partial_report_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is ended again, before it has measured anything that the first has."""
    script, content, partial = command(), made_up(), tmp_path / "benchmark.partial.json"
    settings = asdict(replace(Settings().quick(), threads=1))
    partial.write_text(json.dumps({**content, "settings": settings}))

    def ended(ground: Any, frameworks: Any, measures: Any, keep: Any) -> None:
        keep({**content, "settings": settings, "rows": content["rows"][:1]})
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "run", ended)
    monkeypatch.setattr(script, "prepare", lambda *options: made_up_ground(TINY, tmp_path))
    with pytest.raises(KeyboardInterrupt):
        script.main(["--quick", "--threads", "1", "--merge", str(partial), "--output", str(tmp_path)])
    kept = json.loads(partial.read_text())
    assert len(kept["rows"]) == len(content["rows"]) > 1


@pytest.fixture
def measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, whose ``run`` keeps and returns what is set as ``content``; a report lies in ``tmp_path``."""
    script = command()
    script.content = {**made_up(), "settings": asdict(replace(Settings().quick(), threads=1))}

    def measured(ground: Any, frameworks: Any, measures: Any, keep: Any) -> dict[str, Any]:
        keep(script.content)
        return dict(script.content)

    monkeypatch.setattr(script, "run", measured)
    monkeypatch.setattr(script, "prepare", lambda *options: made_up_ground(TINY, tmp_path))
    (tmp_path / "benchmark.json").write_text("an earlier report")
    return script


def test_where_nothing_is_measured_the_report_stays(
    measuring: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks: dict[str, Any] = {block: [] for block in ("rows", *BLOCKS)}
    left_out = [{"framework": "fastai float32", "reason": "it is not there"}]
    measuring.content = {**measuring.content, **blocks, "refused": [], "left_out": left_out}
    assert measuring.main(["--quick", "--threads", "1", "--output", str(tmp_path)]) == 2
    assert "nothing was measured, and no report is written: fastai float32: it is not there." in capsys.readouterr().err
    assert (tmp_path / "benchmark.json").read_text() == "an earlier report"


def test_what_was_measured_outlives_a_report_that_cannot_be_written(
    measuring: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: Any) -> str:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "to_markdown", full)
        with pytest.raises(OSError, match="no space"):
            measuring.main(["--quick", "--threads", "1", "--output", str(tmp_path)])
    partial = tmp_path / "benchmark.partial.json"
    assert json.loads(partial.read_text())["rows"] == measuring.content["rows"]
    measuring.main(["--quick", "--threads", "1", "--output", str(tmp_path)])
    assert not partial.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--warmup", "-1"], "warmup: too small"),
        (["--skip", "-2", "--files", "-1"], "skip, files: too small"),
        (["--data", "nowhere"], "--data: a folder with one folder of images a class is needed. Received: nowhere"),
        (["--output", __file__], "--output: a folder is needed. Received: "),
    ],
)
def test_bad_arguments_are_one_clear_error(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command().main(["--quick", "--output", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err
