"""The benchmark's report, and what it refuses. Nothing here looks at speed: other tests run at the same time."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarked import TINY, command, made_up, made_up_ground

from benchmarks.agreement import MARGIN, OTHER_RECIPE, SHARED, compare_own, compare_shared, own_bound, shared_error
from benchmarks.bench import beside_their_ceilings, run
from benchmarks.frameworks import select
from benchmarks.growth import growth
from benchmarks.load import family_seconds
from benchmarks.machine import describe_machine, has_bfloat16
from benchmarks.meter import Meter, Request
from benchmarks.pictures import draw_folder
from benchmarks.plot import draw, picture
from benchmarks.prepare import prepare
from benchmarks.report import to_markdown
from benchmarks.settings import Settings
from benchmarks.summary import MARKER, summary, with_summary

ROOT = Path(__file__).parent.parent
ROW = {
    "framework", "precision", "phase", "source", "images_per_second", "spread", "ratio_to_fastest_keras",
    "fraction_of_ceiling", "peak_memory_mb",
}  # fmt: skip


@pytest.fixture
def content() -> dict[str, Any]:
    """A report."""
    return made_up()


def test_a_framework_that_trains_otherwise_is_refused_and_a_run_that_ends_early_leaves_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes, random weights, drawn images; one lightning-tl has another learning rate in its second phase."""
    monkeypatch.delenv("LIGHTNING_TL_ASSETS", raising=False)
    (ours,) = select(["lightning-tl float32"])
    wrong = replace(ours, name="too fast", settings={"finetune_lr": 1e-4})
    kept: list[str] = []
    ground = prepare(TINY, tmp_path, None, None)
    content = run(ground, [ours, wrong], (), lambda so_far: kept.append(json.dumps(so_far)))
    assert json.loads(kept[-1]) == json.loads(json.dumps({**content, "seconds": json.loads(kept[-1])["seconds"]}))
    (refused,) = content["refused"]
    assert refused["framework"] == "too fast float32"
    assert "finetune (shared draws)" in refused["reason"]
    assert [(verdict["phase"], verdict["passed"]) for verdict in content["agreement"]] == [
        ("head", True), ("finetune", False),
    ]  # fmt: skip
    assert content["agreement"][0]["error"] == 0


def test_the_bare_network_follows_the_first_that_is_held_against_it() -> None:
    def order(*names: str) -> list[str]:
        return [framework.key for framework in beside_their_ceilings(select(names))]

    assert order("lightning-tl", "keras-torch") == [
        "lightning-tl float32", "ceiling float32", "lightning-tl mixed", "ceiling mixed",
        "keras-torch float32", "keras-torch mixed",
    ]  # fmt: skip
    assert order("lightning-tl float32", "lightning-tl compiled float32", "plain-lightning mixed") == [
        "lightning-tl float32", "ceiling float32", "lightning-tl compiled float32", "ceiling compiled float32",
        "plain-lightning mixed", "ceiling mixed",
    ]  # fmt: skip
    assert order("lightning-tl compiled mixed") == [
        "lightning-tl compiled mixed", "ceiling compiled mixed", "ceiling mixed",
    ]  # fmt: skip


def test_the_report_has_its_form(content: dict[str, Any]) -> None:
    assert content.keys() >= {"machine", "versions", "rows"}
    places = {(row["framework"], row["phase"]) for row in content["rows"]}
    assert places == {(f, p) for f in ("lightning-tl", "keras-torch") for p in ("head", "finetune", "predict")}
    for row in content["rows"]:
        assert row.keys() >= ROW
        assert row["source"] == "resident"
        assert row["precision"] == "float32"
        assert len(row["rounds"]) == TINY.rounds
        assert row["images_per_second"] > 0
        assert row["peak_memory_mb"] > 50
        assert row["fraction_of_ceiling"] > 0
    assert [row["ratio_to_fastest_keras"] for row in content["rows"] if row["framework"] == "keras-torch"] == [1.0] * 3
    assert json.loads(json.dumps(content)) == content


def test_what_is_refused_is_in_no_table(content: dict[str, Any]) -> None:
    assert [item["framework"] for item in content["refused"]] == ["too fast float32"]
    assert "too fast" not in {row["framework"] for row in content["rows"]}
    assert "**refused** too fast float32" in to_markdown(content)


def test_page_and_picture(content: dict[str, Any], tmp_path: Path) -> None:
    page = to_markdown(content)
    assert "## Training the head, resident" in page
    assert "| mixed, head, resident: times the fastest Keras | 2.7 | n/a | n/a | not measured |" in page
    assert "They are stated for 2 cores" in page
    draw(content, tmp_path / "benchmark.png")
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000


def test_the_picture_tells_what_was_not_measured_and_what_is_of_an_earlier_run(content: dict[str, Any]) -> None:
    def said(rows: list[dict[str, Any]]) -> list[str]:
        figure = picture({**content, "rows": rows})
        return [text.get_text() for panel in figure.axes for text in panel.texts] + [figure.get_suptitle()]

    whole, first = said(content["rows"]), content["rows"][0]
    assert "not measured" not in whole
    assert "earlier run" not in whole[-1]
    files = [{**row, "source": "files"} for row in content["rows"] if row is not first and row["phase"] == "head"]
    assert said(content["rows"] + files).count("not measured") == 1
    assert "* in an earlier run" in said([{**first, "earlier": True}])[-1]


def test_the_readme_has_the_figures_of_the_report(content: dict[str, Any]) -> None:
    marker, other = MARKER.format("docs"), MARKER.format("docs/other")
    readme = f"# Title\n{marker}\nold\n{marker}\n{other}\nkept\n{other}\nend\n"
    table = with_summary(readme, content, "docs")
    assert "old" not in table
    assert table.endswith(f"{marker}\n{other}\nkept\n{other}\nend\n")
    assert "| head, resident | float32 |" in table


@pytest.mark.parametrize("folder", ["docs", "docs/new"])
def test_the_table_of_the_folder_that_was_written_is_renewed(
    folder: str, content: dict[str, Any], tmp_path: Path
) -> None:
    marker = MARKER.format(folder)
    (tmp_path / folder).mkdir(parents=True)
    for page in command().PAGES:
        (tmp_path / page).write_text(f"{marker}\nold\n{marker}\n", encoding="utf-8")
    command().write(content, tmp_path / folder)
    for page in command().PAGES:
        assert (tmp_path / page).read_text(encoding="utf-8") == f"{marker}\n{summary(content)}\n{marker}\n"


def tables() -> list[tuple[str, str]]:
    """(page, folder of the report) of every table of speeds."""
    marker = MARKER.format("(.+?)")
    found = {page: set(re.findall(marker, (ROOT / page).read_text(encoding="utf-8"))) for page in command().PAGES}
    return [(page, folder) for page, folders in found.items() for folder in sorted(folders)]


def test_the_readme_has_a_table_and_the_plot_of_the_main_report() -> None:
    assert ("README.md", "docs") in tables()
    assert "](docs/benchmark.png)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "folder"), tables())
def test_the_tables_are_those_of_the_reports(page: str, folder: str) -> None:
    whole = (ROOT / page).read_text(encoding="utf-8")
    kept = json.loads((ROOT / folder / "benchmark.json").read_text(encoding="utf-8"))
    assert whole == with_summary(whole, kept, folder)
    assert (ROOT / folder / "benchmark.md").read_text(encoding="utf-8") == to_markdown(kept)


def test_the_readme_says_what_is_measured_in_seconds(content: dict[str, Any]) -> None:
    ours = {"framework": "lightning-tl", "precision": "float32"}
    startup = [{**ours, "first_step_seconds": 5.04}, {**ours, "precision": "mixed", "first_step_seconds": 6.0}]
    reached = [{**ours, "target": 0.8, "seconds": 8.0}, {**ours, "framework": "fastai", "target": 0.8, "seconds": None}]
    last = summary({**content, "startup": startup, "time_to_accuracy": reached}).splitlines()[-1]
    assert last.endswith(
        "first training step: lightning-tl 5.0; seconds of training and validation, compilation included, to an "
        "accuracy on held-out images of 0.8: lightning-tl 8.0."
    )
    lent = summary({**content, "startup": startup, "time_to_accuracy": [], "lent": ["startup"]})
    assert "first training step: lightning-tl 5.0 *.\n\nFigures with * are of an earlier run on this machine." in lent


def test_the_readme_shows_mixed_precision_where_the_processor_has_it(content: dict[str, Any]) -> None:
    rows = [*content["rows"], *({**row, "precision": "mixed"} for row in content["rows"])]
    for units in (["avx512f"], ["avx512f", "avx512_bf16"]):
        table = summary({**content, "rows": rows, "machine": {**content["machine"], "vector_units": units}})
        assert ("| mixed |" in table) == (len(units) == 2)


@pytest.mark.parametrize(
    "args",
    [
        ["--frameworks", "theano"],
        ["--image-size", "8"],
        ["--weights", "none.h5"],
        ["--merge", "none.json"],
        ["--files", "79"],
    ],
)
def test_bad_arguments_are_one_line(args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command().main(["--quick", "--threads", "1", "--files", "130", "--output", str(tmp_path), *args]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_own_draws_may_scatter_but_not_drift() -> None:
    reference = [2.0 - 0.05 * step for step in range(20)]
    scattered = [loss + (-0.2, 0.2)[step % 2] for step, loss in enumerate(reference)]
    slow = [2.0 - 0.01 * step for step in range(20)]
    error, bound = own_bound(scattered, reference, MARGIN["float32"])
    assert error < bound
    error, bound = own_bound(slow, reference, MARGIN["float32"])
    assert error > bound
    error, bound = own_bound([float("nan")] * 20, reference, MARGIN["float32"])
    assert not error <= bound


@pytest.mark.parametrize("framework", ["keras-jax", *OTHER_RECIPE])
def test_another_recipe_may_part_the_losses_by_what_was_measured_of_it(framework: str) -> None:
    """Torchvision's corners and padding are not the recipe's: that shows in the losses, and is no wrong work."""
    reference, other = select(["keras-torch float32", f"{framework} float32"])
    if framework == "keras-jax":
        reference, other = other, reference  # in the table's order
    allowed = MARGIN["float32"] + OTHER_RECIPE.get(framework, 0.0)
    for share, passes in ((allowed - 0.01, True), (allowed + 0.01, False)):
        losses = {reference.key: [2.0] * 50, other.key: [2.0 * (1 + share)] * 50}
        (verdict,) = compare_own("head", losses, [reference, other])
        assert verdict["passed"] is passes


def test_the_meter_holds_a_fit_between_measurements() -> None:
    requests = [{"do": "more", "skip": 0, "steps": 1}, {"do": "close"}]
    answers: list[Request] = []
    meter = Meter({"skip": 2, "steps": 3}, answers.append, lambda: requests.pop(0))
    assert [meter.step(4, float(step)) for step in range(6)] == [False] * 5 + [True]
    assert [(answer["images"], answer["losses"]) for answer in answers] == [(12, [2.0, 3.0, 4.0]), (4, [5.0])]
    assert meter.pending == {"do": "close"}


def test_a_fit_that_ends_too_early_is_an_error() -> None:
    meter = Meter({"skip": 1, "steps": 3}, lambda _: None)
    meter.step(4)
    with pytest.raises(RuntimeError, match="after 1 of 4 steps"):
        meter.check()


def test_units_of_arm_are_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose line of /proc/cpuinfo has another name."""
    monkeypatch.setattr("benchmarks.machine._cpuinfo", lambda name: {"Features": "fp asimd bf16"}.get(name, ""))
    machine = describe_machine(1)
    assert machine["vector_units"] == ["asimd", "bf16"]
    assert has_bfloat16(machine)


@pytest.mark.parametrize(("args", "folder"), [((), "docs"), (("--quick",), "runs/benchmark")])
def test_a_quick_run_leaves_the_committed_report_alone(
    content: dict[str, Any], args: tuple[str, ...], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = command()
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "measure", lambda options: content)  # what a run before has measured
    assert script.main(args) == 1  # a framework was refused
    (written,) = {path.parent for path in tmp_path.rglob("benchmark.*")}
    assert written == tmp_path / folder


def test_a_loss_that_becomes_no_number_is_no_agreement() -> None:
    assert shared_error([1.0, 1.0], [1.0, 1.1]) == pytest.approx(1 / 11)
    for ours in ([float("nan"), 1.0, 1.0], [1.0, 1.0, float("nan")]):
        assert not shared_error(ours, [1.0, 1.0, 1.0]) <= SHARED["float32"]
        (verdict,) = compare_shared(
            "head",
            {"keras-jax float32": [1.0, 1.0, 1.0], "lightning-tl float32": ours},
            select(["lightning-tl float32", "keras-jax float32"]),
        )
        assert not verdict["passed"]


@pytest.mark.parametrize(("name", "value"), [("image_size", 96), ("image_size", 64), ("batch_size", 2)])
def test_what_grows_takes_each_value_once(name: str, value: int, tmp_path: Path) -> None:
    ground = made_up_ground(replace(TINY, budget=0.0, **{name: value}), tmp_path)  # type: ignore[arg-type]
    values = [piece.args[2:] for piece in growth(ground, select(["lightning-tl float32"]))]  # type: ignore[attr-defined]
    assert len(values) == len(set(values)) > 8


def test_its_own_settings_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(*settings: object) -> None:
        raise NotImplementedError("nothing was refused")

    monkeypatch.setattr("benchmarks.prepare.draw_folder", drawn)
    with pytest.raises(NotImplementedError):
        prepare(Settings(), tmp_path, None, None)


def test_a_folder_with_too_few_images_of_a_class_is_refused(tmp_path: Path) -> None:
    few, folder = draw_folder(tmp_path / "few", 60, 0), tmp_path / "copied"
    folder.mkdir()
    with pytest.raises(ValueError, match=rf"^--data: prediction reads 84 .* Received: {few}, of which 50 can be taken"):
        prepare(replace(TINY, steps=20, files=100), folder, few, None)
    ground = prepare(replace(TINY, steps=20, files=40), tmp_path, few, None, from_files=False)
    with pytest.raises(ValueError, match=r"^--files: 16 of them are decoded into memory. Received: 3."):
        prepare(replace(TINY, files=3), tmp_path / "none", None, None, from_files=False)
    assert 16 <= len(list(ground.root.glob("*/*"))) < 84, "images in memory can be predicted again and again"


def test_seconds_of_children_that_have_ended_are_their_familys() -> None:
    """A loader's processes end within a measurement; else all that they had computed were another program's."""
    burn = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    before = family_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert family_seconds(os.getpid()) - before > 0.45
