"""Reports of one machine are joined, and what the page then says of rows that another run has lent."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from benchmarked import TINY, command, made_up

from benchmarks.joining import BLOCKS, NEEDED, merge
from benchmarks.machine import DifferentMachinesError, describe_machine
from benchmarks.readme import summary
from benchmarks.report import to_markdown
from benchmarks.settings import Settings
from benchmarks.targets import all_targets

OURS, KERAS = {"framework": "lightning-tl", "precision": "float32"}, {"framework": "keras-jax", "precision": "float32"}


@pytest.fixture
def content() -> dict[str, Any]:
    """A report."""
    return made_up()


@pytest.mark.parametrize("name", ["cpu", "cores", "threads", "memory_gb", "os"])
def test_different_machines_are_not_compared(content: dict[str, Any], name: str) -> None:
    other = {**content, "machine": {**content["machine"], name: "another"}}
    with pytest.raises(DifferentMachinesError, match=rf"different machines.*{name} .* against 'another'"):
        merge(content, other)


def test_other_settings_are_not_joined(content: dict[str, Any]) -> None:
    with pytest.raises(DifferentMachinesError, match="different settings"):
        merge(content, {**content, "settings": {**content["settings"], "batch_size": 5}})


def test_another_accuracy_is_joined_where_that_is_measured_anew(content: dict[str, Any]) -> None:
    old = {**content, "settings": {**content["settings"], "accuracy": 0.5}}
    with pytest.raises(DifferentMachinesError, match="different settings"):
        merge(content, old)
    anew = {**content, "time_to_accuracy": [{**OURS, "target": TINY.accuracy}]}
    assert merge(anew, {**old, "scaling": [{"processes": 1}]})["scaling"] == [{"processes": 1}]
    assert merge(anew, old)["settings"]["accuracy"] == TINY.accuracy


def test_joined_reports_keep_what_was_not_measured_anew(content: dict[str, Any]) -> None:
    files = [{**row, "source": "files"} for row in content["rows"]]
    old = {**content, "rows": [*content["rows"], *files], "startup": [OURS]}
    joined = merge({**content, "rows": content["rows"][:1], "startup": []}, old)
    assert [row.get("earlier", False) for row in joined["rows"]] == [True] * (len(joined["rows"]) - 1) + [False]
    assert "Rows with * are of an earlier run" in to_markdown(joined)
    assert "| lightning-tl * |" in to_markdown(joined)
    assert "earlier" not in to_markdown(content)
    assert joined["startup"] == old["startup"]
    more = merge({**content, "rows": [], "load": {}, "startup": [KERAS]}, old)
    assert (more["load"], more["rows"], len(more["startup"])) == (old["load"], old["rows"], 1)
    assert [row["source"] for row in joined["rows"]].count("files") == len(files)
    assert joined["rows"][-1] == content["rows"][0]


def test_the_readme_keeps_the_figures_of_an_earlier_run(content: dict[str, Any]) -> None:
    assert "earlier" not in summary(content)
    for speed, keras, ratio in ((50.0, "100 *", "2.99 *"), (200.0, "200", "n/a")):
        anew = [row for row in made_up(keras=speed)["rows"] if row["family"] == "keras"]
        jax = [{**row, "framework": "keras-jax"} for row in anew]
        table = summary(merge({**content, "rows": jax}, content))
        assert f"| head, resident | float32 | 300 * | {keras} | n/a | {ratio} | 0.75 * |" in table
        assert table.endswith("\n\nFigures with * are of an earlier run on this machine.")
    ours = [row for row in content["rows"] if row["family"] == "lightning-tl"]
    compiled = [{**row, "framework": "lightning-tl compiled"} for row in ours]
    slower = summary(merge(made_up(ours=200.0), {**content, "rows": compiled}))
    assert "| head, resident | float32 | 200 | 100 | n/a | 2.00 | 0.50 |" in slower
    assert "earlier" not in slower


def test_joined_reports_say_which_tables_are_earlier_and_forget_what_was_refused(content: dict[str, Any]) -> None:
    again = f"{content['rows'][0]['framework']} {content['rows'][0]['precision']}"
    reasons = [{"framework": name, "reason": "its loss"} for name in (again, "fastai float32")]
    old = {**content, "refused": reasons, "growth": [OURS]}
    joined = merge({**content, "refused": [], "growth": []}, old)
    assert joined["refused"] == reasons[1:]
    assert joined["lent"] == ["growth"]
    assert "These tables are of an earlier run on this machine as a whole: growth." in to_markdown(joined)
    anew = merge({**content, "growth": [OURS]}, joined)
    assert anew["lent"] == []


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


def test_a_slow_keras_beside_a_faster_one_of_an_earlier_run_makes_no_ratio(content: dict[str, Any]) -> None:
    """Else a run of few frameworks would say how much faster than a slow one it is, in the name of the fastest."""
    lone = {"fastest_keras": "keras-jax float32"}
    slow = [row for row in made_up(keras=50.0)["rows"] if row["family"] == "keras"]
    jax = [{**row, **lone, "framework": "keras-jax"} for row in slow]
    ours = [
        {**row, **lone, "ratio_to_fastest_keras": 6.0} for row in content["rows"] if row["family"] == "lightning-tl"
    ]
    joined = merge({**content, "rows": [*ours, *jax]}, content)
    anew = [row for row in joined["rows"] if not row.get("earlier")]
    assert len(anew) == len([*ours, *jax])
    assert {row["ratio_to_fastest_keras"] for row in anew} == {None}
    (head, *_) = all_targets(joined, bfloat16=False)
    assert (head.what, head.verdict) == ("float32, head, resident: times the fastest Keras", "not measured")
    assert "| head, resident | float32 | 300 | 100 * | n/a | n/a |" in summary(joined)
    faster = merge({**content, "rows": made_up(keras=100.0)["rows"]}, made_up(keras=50.0))
    assert all(row["ratio_to_fastest_keras"] for row in faster["rows"])


def test_a_refused_framework_has_no_figure_in_any_table(content: dict[str, Any]) -> None:
    old = {**content, **{block: [OURS, KERAS] for block in BLOCKS if block != "means"}, "means": [{"means": "Adam"}]}
    joined = merge({**content, "refused": [{"framework": "keras-jax float32", "reason": "its loss"}]}, old)
    assert {block: joined[block] for block in BLOCKS if block not in ("means", "validation")} == {
        block: [OURS] for block in BLOCKS if block not in ("means", "validation")
    }
    assert joined["means"] == old["means"]


def test_what_was_left_out_is_forgotten_where_it_has_been_measured_since(content: dict[str, Any]) -> None:
    left = [
        {"framework": "keras-torch float32", "reason": "not installed"},
        {"framework": "fastai float32", "reason": "not installed"},
        {"measure": "accuracy", "reason": "late"},
        {"measure": "growth", "reason": "late"},
    ]
    anew = {**content, "time_to_accuracy": [OURS], "left_out": [{"framework": "jax", "reason": "ended"}]}
    joined = merge(anew, {**content, "left_out": left})
    assert joined["left_out"] == [{"framework": "jax", "reason": "ended"}, left[1], left[3]]


def test_parts_of_a_further_run_and_all_commits_are_told(content: dict[str, Any]) -> None:
    parts = {**content, "rows": [], "agreement": [], "startup": [OURS], "commits": ["4567def"]}
    joined = merge(parts, content)
    assert (joined["further"], joined["lent"]) == (["startup"], [])
    assert not any("earlier" in row for row in joined["rows"])
    page = to_markdown({**joined, "startup": [{**OURS, "first_step_seconds": 1.0, "first_finetune_step_seconds": 1.0}]})
    assert "Measured in further runs on this machine: startup." in page
    assert "Of commit 0123abc, 4567def." in page
    assert merge({**content, "startup": [OURS]}, joined)["further"] == []
    again = merge(parts, {**content, "startup": [KERAS], "lent": ["growth", "startup"]})
    assert (again["further"], again["lent"]) == (["startup"], ["growth"])


def test_of_an_earlier_run_nothing_is_said_once_all_is_measured_anew(content: dict[str, Any]) -> None:
    joined = merge({**content, "rows": content["rows"][:1]}, content)
    assert "In that run's worst measurement" in to_markdown(joined)
    anew = merge({**content, "startup": []}, {**joined, "startup": [OURS], "further": ["startup"]})
    assert (anew["lent"], anew["further"]) == (["startup"], [])
    page = to_markdown({**anew, "startup": [], "lent": []})
    assert "earlier" not in page
    assert "In that run" not in page


def test_lent_agreement_is_marked_too(content: dict[str, Any]) -> None:
    one = [verdict for verdict in content["agreement"] if verdict["phase"] == "head"]
    page = to_markdown(merge({**content, "agreement": one}, content))
    assert "| lightning-tl * | float32 | finetune | shared draws |" in page
    assert "Rows with * are of an earlier run" in page


def test_a_file_that_is_no_report_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"machine": describe_machine(1)}))
    assert command().main(["--quick", "--merge", str(tmp_path / "old.json")]) == 2
    missing = ", ".join(NEEDED[1:])
    assert capsys.readouterr().err.endswith(f"Received: {tmp_path / 'old.json'}, without {missing}.\n")


def test_a_run_that_goes_on_from_a_partial_report_keeps_it(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is ended again, before it has measured anything that the first has."""
    script, partial = command(), tmp_path / "benchmark.partial.json"
    settings = asdict(replace(Settings().quick(), threads=1))
    partial.write_text(json.dumps({**content, "settings": settings}))

    def ended(ground: Any, frameworks: Any, measures: Any, keep: Any) -> None:
        keep({**content, "settings": settings, "rows": content["rows"][:1]})
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "run", ended)
    monkeypatch.setattr(script, "prepare", lambda *options: None)
    with pytest.raises(KeyboardInterrupt):
        script.main(["--quick", "--threads", "1", "--merge", str(partial), "--output", str(tmp_path)])
    kept = json.loads(partial.read_text())
    assert len(kept["rows"]) == len(content["rows"]) > 1
