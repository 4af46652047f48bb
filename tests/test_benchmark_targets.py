"""Ratios between frameworks, and the targets that they are held against."""

import inspect
from typing import Any

from benchmarks.frameworks import CEILINGS, Framework, select
from benchmarks.rounds import Sample
from benchmarks.rows import make_rows
from benchmarks.settings import CACHE
from benchmarks.targets import Target, all_targets
from lightning_tl import ImageFolderDataModule


def test_ratios_are_taken_round_by_round() -> None:
    """The machine was twice as slow in the second round: the ratio does not know."""
    ours, keras = select(["lightning-tl float32", "keras-jax float32"])
    samples = {ours.key: [_sample(40), _sample(20), _sample(44)], keras.key: [_sample(20), _sample(10), _sample(22)]}
    row = make_rows("head", "resident", samples, [ours, keras], {"ceiling float32": samples[ours.key]})[0]
    assert (row["images_per_second"], row["ratio_to_fastest_keras"], row["ratio_spread"]) == (40.0, 2.0, 0.0)
    assert row["fraction_of_ceiling"] == 1.0
    assert row["spread"] == 0.6


def test_mixed_is_compared_with_the_fastest_keras_of_either_precision() -> None:
    ours, single, mixed = select(["lightning-tl mixed", "keras-jax"])
    samples = {ours.key: [_sample(60)], single.key: [_sample(20)], mixed.key: [_sample(10)]}
    rows = make_rows("head", "resident", samples, [ours, single, mixed], {})
    assert rows[0]["fastest_keras"] == "keras-jax float32"
    assert rows[0]["ratio_to_fastest_keras"] == 3.0


def test_targets_say_plainly_what_was_missed() -> None:
    rows = _rows(select(["lightning-tl", "lightning-tl compiled", "keras-jax float32", "plain-lightning float32"]))
    verdicts = {target.what: target.verdict for target in all_targets({"rows": rows}, bfloat16=True)}
    assert verdicts["float32, head, resident: times the fastest Keras"] == "met"
    assert verdicts["mixed, head, resident: times the fastest Keras"] == "missed"
    assert verdicts["float32, finetune, resident: times the fastest Keras"] == "not measured"
    assert verdicts["everywhere: times plain Lightning, at its worst"] == "missed"
    emulated = {target.what: target.verdict for target in all_targets({"rows": rows}, bfloat16=False)}
    assert emulated["float32, head, resident: times the fastest Keras"] == "met"
    assert emulated["mixed, head, resident: times the fastest Keras"] == "not measured"


def test_a_target_tells_what_each_round_would_have_said() -> None:
    """A median just above its aim is another thing where half of the rounds were below it."""
    ours, keras = select(["lightning-tl float32", "keras-jax float32"])
    samples = {ours.key: [_sample(40), _sample(20), _sample(44)], keras.key: [_sample(20), _sample(8), _sample(20)]}
    ceilings = {"ceiling float32": [_sample(50), _sample(20), _sample(55)]}
    rows = make_rows("head", "resident", samples, [ours, keras], ceilings)
    own = [{**row, "family": "ceiling"} for row in make_rows("head", "resident", ceilings, [CEILINGS[0]], {})]
    told = {target.what: target for target in all_targets({"rows": rows, "ceiling": own}, bfloat16=False)}
    against = told["float32, head, resident: times the fastest Keras"]
    assert (against.found, list(against.rounds)) == (2.2, [2.0, 2.5, 2.2])
    of_ceiling = told["float32, head, resident: fraction of the ceiling"]
    assert (of_ceiling.found, list(of_ceiling.rounds)) == (0.8, [0.8, 1.0, 0.8])
    gpu = all_targets({"rows": rows, "machine": {"gpu": {}}}, bfloat16=False)
    against = next(target for target in gpu if target.what == "float32, head, resident: times Keras on jax")
    assert (against.found, list(against.rounds)) == (2.2, [2.0, 2.5, 2.2])
    assert told["float32, finetune, resident: fraction of the ceiling"].rounds == ()


def test_seconds_are_held_against_plain_lightnings_too() -> None:
    ours = {"framework": "lightning-tl", "precision": "float32"}
    plain = {**ours, "framework": "plain-lightning"}
    startup = [
        {**ours, "first_step_seconds": 5.0, "first_finetune_step_seconds": 0.4},
        {**plain, "first_step_seconds": 4.0, "first_finetune_step_seconds": 0.5},
    ]
    first = _against_plain("first steps", startup=startup)
    assert (first.found, first.verdict, first.by) == (0.8, "missed", "float32, first step")
    assert _against_plain("first steps", startup=startup, lent=["startup"]).verdict == "not measured"
    sooner = _against_plain(
        "time to an accuracy", time_to_accuracy=[{**ours, "seconds": 9.0}, {**plain, "seconds": 18}]
    )
    assert (sooner.found, sooner.verdict, sooner.by) == (2.0, "met", "float32")
    never = _against_plain(
        "time to an accuracy", time_to_accuracy=[{**ours, "seconds": None}, {**plain, "seconds": 18}]
    )
    assert (never.found, never.verdict) == (0.0, "missed")


def test_an_accuracy_that_plain_lightning_never_reaches_is_reached_sooner() -> None:
    ours = {"framework": "lightning-tl", "precision": "float32", "seconds": 9.0}
    plain = {**ours, "framework": "plain-lightning", "seconds": None}
    alone = _against_plain("time to an accuracy", time_to_accuracy=[ours, plain])
    assert (alone.verdict, alone.by) == ("met", "float32, which plain Lightning did not reach")
    mixed = [{**row, "precision": "mixed", "seconds": seconds} for row, seconds in ((ours, 9.0), (plain, 4.5))]
    worst = _against_plain("time to an accuracy", time_to_accuracy=[ours, plain, *mixed])
    assert (worst.found, worst.verdict, worst.by) == (0.5, "missed", "mixed")
    neither = _against_plain("time to an accuracy", time_to_accuracy=[{**ours, "seconds": None}, plain])
    assert neither.verdict == "not measured"


def test_validation_is_held_against_plain_lightnings_too() -> None:
    rows = _rows(select(["lightning-tl float32", "plain-lightning float32"]))
    slow = [
        {**row, "phase": "validate", "images_per_second": 80, "rounds": rounds}
        for row, rounds in zip(rows, ([50, 80, 90], [100, 40, 180]), strict=True)
    ]
    assert _against_plain("everywhere", rows=[], validation=slow).found == 0.5, "round by round, not of medians"


def test_files_are_held_against_memory_in_the_same_rounds() -> None:
    """Two tables are minutes apart, and the machine another by then."""
    rows = [
        {**row, "source": source, "images_per_second": speed}
        for source, speed in (("resident", 100.0), ("files", 80.0))
        for row in _rows(select(["lightning-tl float32"]))
    ]
    loading = [{"framework": "lightning-tl", "precision": "float32", "phase": "head", "fraction": 0.97}]
    what = "float32, head, files: fraction of resident"
    apart, together, lent = (
        next(target for target in all_targets({"rows": rows, **further}, bfloat16=True) if target.what == what)
        for further in ({}, {"loading": loading}, {"loading": loading, "lent": ["loading"]})
    )
    assert [(target.found, target.verdict) for target in (apart, together, lent)] == [
        (0.8, "missed"), (0.97, "met"), (0.8, "missed"),
    ]  # fmt: skip
    assert together.by == "lightning-tl, in the same rounds"


def test_of_several_caches_the_default_counts() -> None:
    """The best of several noisy figures would be too good."""
    row = {"framework": "lightning-tl", "precision": "mixed", "phase": "head"}
    found = {"ram": 0.8, "disk": 0.9, "device": 1.01}
    content = {"rows": [], "loading": [{**row, "cache": cache, "fraction": value} for cache, value in found.items()]}
    (target,) = (t for t in all_targets(content, bfloat16=True) if t.what == "mixed, head, files: fraction of resident")
    assert (target.found, target.verdict) == (0.9, "missed")
    assert inspect.signature(ImageFolderDataModule).parameters["cache"].default == CACHE


def _against_plain(what: str, **content: Any) -> Target:
    targets = all_targets({"rows": [], **content}, bfloat16=True)
    return next(target for target in targets if target.what.startswith(f"{what}: times plain Lightning, at its worst"))


def _sample(speed: float) -> Sample:
    return Sample(speed, (), 100.0)


def _rows(frameworks: list[Framework]) -> list[dict[str, Any]]:
    """The head from memory: lightning-tl is fast in float32 and slow in mixed."""
    speeds = {"lightning-tl float32": 9, "lightning-tl compiled float32": 30, "keras-jax float32": 10}
    samples = {f.key: [_sample(speeds.get(f.key, 12))] for f in frameworks}
    return make_rows("head", "resident", samples, frameworks, {})
