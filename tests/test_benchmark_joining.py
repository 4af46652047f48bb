"""Reports of one machine are joined, and what the page then says of rows that another run has lent."""

from typing import Any

import pytest
from benchmarked import TINY, made_up

from benchmarks.joining import BESIDE, BLOCKS, merge
from benchmarks.machine import DifferentMachinesError
from benchmarks.report import to_markdown
from benchmarks.summary import summary
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
    joined = merge(anew, {**old, "time_to_accuracy": [{**KERAS, "target": 0.5}], "lent": ["time_to_accuracy"]})
    assert (joined["settings"]["accuracy"], joined["time_to_accuracy"]) == (TINY.accuracy, anew["time_to_accuracy"])
    yet_to_come = merge(content, {**old, "time_to_accuracy": [KERAS], "lent": ["time_to_accuracy"]}, accuracy=True)
    assert (yet_to_come["time_to_accuracy"], yet_to_come["lent"]) == ([], [])


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
    assert (more["load"], more["rows"]) == (old["load"], old["rows"])
    assert more["startup"] == [KERAS, {**OURS, "earlier": True}]
    assert [row["source"] for row in joined["rows"]].count("files") == len(files)
    assert joined["rows"][-1] == content["rows"][0]


@pytest.mark.parametrize("block", [block for block in BESIDE if block != "means"])
def test_measures_beside_the_rows_are_joined_framework_by_framework(block: str, content: dict[str, Any]) -> None:
    mixed = {**OURS, "precision": "mixed"}
    old = {**content, block: [{**OURS, "value": 1}, {**OURS, "value": 2}, mixed, KERAS]}
    for rows in (content["rows"], []):
        joined = merge({**content, "rows": rows, block: [{**OURS, "value": 3}]}, old)
        earlier = [{**mixed, "earlier": True}, {**KERAS, "earlier": True}]
        assert joined[block] == [{**OURS, "value": 3}, *earlier]
        assert (joined["lent"], joined["further"]) == ([], [] if rows else [block])


def test_verdicts_on_rows_that_stay_the_reports_own_do_so_too(content: dict[str, Any]) -> None:
    """A run of measures beside the rows looks at shared draws anew, and at no timed step."""
    verdict = {**content["agreement"][0], "kind": "shared draws"}
    further = {**content, "rows": [], "startup": [OURS], "agreement": [{**verdict, "error": 0.5}]}
    timed = {**verdict, "kind": "own draws"}
    joined = merge(further, {**content, "agreement": [verdict, timed]})
    assert joined["agreement"] == [timed, {**verdict, "error": 0.5}]
    joined = merge({**further, "rows": content["rows"]}, {**content, "agreement": [verdict, timed]})
    assert joined["agreement"] == [{**timed, "earlier": True}, {**verdict, "error": 0.5}]


def test_what_the_means_are_worth_is_joined_by_precision(content: dict[str, Any]) -> None:
    single, mixed = ({"means": "Adam", "precision": precision, "gain": 1.0} for precision in ("float32", "mixed"))
    joined = merge({**content, "means": [{**single, "gain": 2.0}]}, {**content, "means": [single, mixed]})
    assert joined["means"] == [{**single, "gain": 2.0}, {**mixed, "earlier": True}]


def test_seconds_of_two_runs_stand_beside_each_other_and_are_not_compared(content: dict[str, Any]) -> None:
    ours, plain = (
        {**OURS, "framework": name, "first_step_seconds": seconds, "first_finetune_step_seconds": 1.0}
        for name, seconds in (("lightning-tl", 5.0), ("plain-lightning", 4.0))
    )
    old = {**content, "startup": [ours, plain]}
    anew = {**ours, "first_step_seconds": 3.0, "of_a_later_version": 7}
    joined = merge({**content, "rows": [], "startup": [anew]}, old)
    page = to_markdown(joined)
    assert "| lightning-tl | float32 | 3 | 1 | 7 |" in page
    assert "| plain-lightning * | float32 | 4 | 1 | n/a |" in page
    assert "Rows with * are of an earlier run" in page
    verdicts = [
        target.verdict
        for report in (old, joined)
        for target in all_targets(report, bfloat16=False)
        if target.what.startswith("first steps: ")
    ]
    assert verdicts == ["missed", "not measured"]
    assert summary(joined).splitlines()[-3:] == [
        "Seconds from the start of a process to the end of the first training step: lightning-tl 3.0, "
        "plain-lightning 4.0 *.",
        "",
        "Figures with * are of an earlier run on this machine.",
    ]


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


def test_the_load_of_every_earlier_run_is_kept(content: dict[str, Any]) -> None:
    first, second = (
        {"idle_frameworks": idle, "other_programs": other}
        for idle, other in (([0.0, 0.1], [0.01, 0.5]), ([0.0, 0.3], [0.02, 0.2]))
    )
    joined = merge({**content, "rows": content["rows"][:1], "load": second}, {**content, "load": first})
    assert joined["earlier_load"] == first
    again = merge({**content, "rows": content["rows"][1:2]}, joined)
    assert again["earlier_load"] == {"idle_frameworks": [0.0, 0.3], "other_programs": [0.02, 0.5]}
    assert "In that run's worst measurement other programs took 50%." in to_markdown(again)
    whole = merge(content, again)
    assert whole["earlier_load"] == {}
    assert merge({**content, "rows": content["rows"][:1]}, whole)["earlier_load"] == content["load"]
    parts = {**content, "rows": [], "startup": [OURS]}
    assert merge(parts, joined)["earlier_load"] == first, "the report's own load is not an earlier one"


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


def test_who_disagreed_with_keras_stays_refused_until_it_is_held_against_keras_again(content: dict[str, Any]) -> None:
    """A run without Keras compares lightning-tl in bfloat16 with itself in float32."""

    def verdict(reference: str, passed: bool) -> dict[str, Any]:
        mixed = {"framework": "lightning-tl", "precision": "mixed", "phase": "head", "kind": "shared draws"}
        return {**mixed, "reference": reference, "error": 0.0, "passed": passed}

    mixed, keras = {"framework": "lightning-tl mixed", "reason": "its loss"}, "keras-jax float32"
    old = {**content, "refused": [mixed], "agreement": [verdict(keras, passed=False)]}
    itself = {**content, "refused": [], "agreement": [verdict("lightning-tl float32", passed=True)]}
    joined = merge(itself, old)
    assert joined["refused"] == [mixed]
    assert [row["passed"] for row in joined["agreement"]] == [False, True]
    again = {**content, "refused": [], "agreement": [verdict(keras, passed=True)]}
    assert merge(again, old)["refused"] == []
    other = {**verdict("keras-tensorflow float32", passed=True), "kind": "own draws"}
    assert merge({**again, "agreement": [other]}, old)["refused"] == [mixed], "the first steps were not compared"
    other["kind"] = "shared draws"
    assert merge({**again, "agreement": [other]}, old)["refused"] == [], "whichever Keras it is"
    assert merge({**itself, "refused": [{**mixed, "reason": "NaN"}]}, old)["refused"] == [{**mixed, "reason": "NaN"}]


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
