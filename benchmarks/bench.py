"""A whole run: the frameworks together first, then the parts that need processes of their own."""

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import agreement
from benchmarks.accuracy import time_to_accuracy
from benchmarks.alive import alive
from benchmarks.frameworks import CEILINGS, Framework
from benchmarks.growth import growth
from benchmarks.loading import loading
from benchmarks.machine import commit, describe_machine, versions
from benchmarks.means import means
from benchmarks.prepare import Ground
from benchmarks.rounds import Group, Sample
from benchmarks.rows import make_rows
from benchmarks.scaling import scaling
from benchmarks.settings import PHASES
from benchmarks.startup import startup

Piece = Callable[[], list[dict[str, Any]]]
Part = Callable[[Ground, Sequence[Framework]], Sequence[Piece]]

PARTS: dict[str, tuple[str, Part]] = {
    "startup": ("startup", startup),
    "loading": ("loading", loading),
    "accuracy": ("time_to_accuracy", time_to_accuracy),
    "scaling": ("scaling", scaling),
    "means": ("means", means),
    "growth": ("growth", growth),
}
"""Measures with processes of their own: the block of the report that each fills, and the pieces that it is
made of, each to be called for its rows."""
MEASURES = ("resident", "files", "validation", *PARTS)
"""What can be asked for; agreement of the losses is looked at always."""


@dataclass
class Findings:
    """What the frameworks together came to.

    Attributes:
        samples: (phase, source) to samples by key.
        verdicts: on losses with shared draws.
        group: of the live processes.
    """

    group: Group
    samples: dict[tuple[str, str], dict[str, list[Sample]]] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)


def run(
    ground: Ground,
    frameworks: Sequence[Framework],
    measures: Sequence[str],
    keep: Callable[[dict[str, Any]], None] = lambda content: None,
) -> dict[str, Any]:
    """Measure and return the content of benchmark.json; ``keep`` is given what there is after each measure."""
    began, machine = time.perf_counter(), describe_machine(ground.settings.threads, ground.settings.accelerator)
    absent = {f.key: f"{f.needs} is not installed" for f in frameworks if not f.installed}
    present = [framework for framework in frameworks if framework.installed]
    content: dict[str, Any] = {"machine": machine, "commits": [commit()]}
    counting: list[Framework] = []
    end = began + (ground.settings.budget or float("inf"))

    def so_far() -> dict[str, Any]:
        content["seconds"] = round(time.perf_counter() - began, 1)
        return content

    with closing(_together(ground, present, measures)) as together:
        for findings in together:
            verdicts = [*findings.verdicts, *_own_losses(findings, present)]
            refused = agreement.refused(verdicts)
            counting = [f for f in present if f.key not in refused and f.key not in findings.group.failed]
            content |= report(ground, findings, counting, absent, refused, verdicts)
            keep(so_far())
    for measure in [measure for measure in PARTS if measure in measures]:
        block, part = PARTS[measure]
        say(measure)
        content[block], pieces = [], list(part(ground, counting))
        while pieces and time.perf_counter() < end:
            content[block] += pieces.pop(0)()
        if pieces:
            reason = f"{len(pieces)} of its parts: the time of a quick run was spent"
            content["left_out"].append({"measure": measure, "reason": reason})
        keep(so_far())
    return so_far()


def _together(
    ground: Ground, frameworks: Sequence[Framework], measures: Sequence[str]
) -> Generator[Findings, None, None]:
    """Everything for which the frameworks are alive at once: the same findings after each measure, and in the end."""
    wanted = beside_their_ceilings(frameworks) if "resident" in measures else frameworks
    settings = ground.settings
    say(f"start {len(wanted)} processes")
    with alive(ground, wanted) as group:
        findings = Findings(group)
        for phase in PHASES:
            say(f"losses of phase {phase} with shared draws")
            answers = group.each(do="losses", phase=phase, steps=min(settings.steps, agreement.SHARED_STEPS))
            losses = {key: answer["losses"] for key, answer in answers.items()}
            findings.verdicts += agreement.compare_shared(phase, losses, frameworks)
        for source in [source for source in ("resident", "files") if source in measures]:
            for phase in PHASES:
                say(f"train phase {phase} from {source}")
                findings.samples[phase, source] = group.train(phase, source, settings)
                yield findings
            say(f"predict from {source}")
            findings.samples["predict", source] = group.evaluate("predict", source, settings)
            yield findings
        if "validation" in measures:
            say("validate")
            findings.samples["validate", "resident"] = group.evaluate("validate", "resident", settings)
    yield findings


def _own_losses(findings: Findings, frameworks: Sequence[Framework]) -> list[dict[str, Any]]:
    """Verdicts on the losses of the measured steps, whose draws are each framework's own."""
    verdicts = []
    for (phase, source), samples in findings.samples.items():
        if source == "resident" and phase in PHASES:
            steps = {key: [loss for sample in found for loss in sample.losses] for key, found in samples.items()}
            verdicts += agreement.compare_own(phase, steps, frameworks)
    return verdicts


def beside_their_ceilings(frameworks: Sequence[Framework]) -> list[Framework]:
    """The order in a round: the bare network just behind the first framework that is held against it.

    A row and its limit are then seconds apart, in which a machine changes less than in a round of all. Of the
    precisions that compete; compiled ones, which take minutes to begin, beside compiled frameworks.
    """
    order = list(frameworks)
    for ceiling in reversed(CEILINGS):
        compiled = ceiling.options["compile"]
        alike = [
            f for f in frameworks if (f.precision, f.options.get("compile", False)) == (ceiling.precision, compiled)
        ]
        if alike or (not compiled and ceiling.precision in {f.precision for f in frameworks}):
            order.insert(order.index(alike[0]) + 1 if alike else len(order), ceiling)
    return order


def report(
    ground: Ground,
    findings: Findings,
    counting: Sequence[Framework],
    absent: dict[str, str],
    refused: dict[str, str],
    verdicts: list[dict[str, Any]],
) -> dict[str, Any]:
    """The content of benchmark.json without machine and the parts that have processes of their own.

    Args:
        ground: of the run.
        findings: what was measured.
        counting: the frameworks whose figures count.
        absent: key to why it did not take part.
        refused: key to why its figures do not count.
        verdicts: on the losses.
    """
    samples = findings.samples
    rows = {place: _rows(samples, place, counting) for place in samples}
    noise = [sample for found in samples.values() for series in found.values() for sample in series]
    return {
        "versions": versions(),
        "settings": ground.settings.to_dict(),
        "weights": ground.sources,
        "rows": [row for place, found in rows.items() if place[0] != "validate" for row in found],
        "validation": rows.get(("validate", "resident"), []),
        "ceiling": _ceilings(samples),
        "agreement": verdicts,
        "refused": [{"framework": key, "reason": reason} for key, reason in refused.items()],
        "left_out": [{"framework": key, "reason": why} for key, why in {**absent, **findings.group.failed}.items()],
        "load": {
            "idle_frameworks": _typical_and_worst([sample.others for sample in noise]),
            "other_programs": _typical_and_worst([sample.foreign for sample in noise]),
        },
    }


def _typical_and_worst(shares: Sequence[float]) -> list[float]:
    """Median and maximum over all measurements, as shares of the machine."""
    return [round(median(shares), 3), round(max(shares), 3)] if shares else [0.0, 0.0]


def _rows(
    samples: dict[tuple[str, str], dict[str, list[Sample]]], place: tuple[str, str], counting: Sequence[Framework]
) -> list[dict[str, Any]]:
    """Rows of a phase and source, beside the bare network's of the same rounds, which has none from files."""
    keys = {ceiling.key for ceiling in CEILINGS}
    return make_rows(*place, samples[place], counting, {k: v for k, v in samples[place].items() if k in keys})


def _ceilings(samples: dict[tuple[str, str], dict[str, list[Sample]]]) -> list[dict[str, Any]]:
    rows = []
    for (phase, source), found in samples.items():
        own = [ceiling for ceiling in CEILINGS if ceiling.key in found]
        rows += [{**row, "fraction_of_ceiling": 1.0} for row in make_rows(phase, source, found, own, {})]
    return [{k: v for k, v in row.items() if "keras" not in k and k != "ratio_spread"} for row in rows]


def say(what: str) -> None:
    """Progress, for whoever watches."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
