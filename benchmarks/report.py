"""docs/benchmark.md: the content of docs/benchmark.json for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.joining import BLOCKS, TABLES
from benchmarks.machine import has_bfloat16
from benchmarks.settings import PREFETCHED
from benchmarks.targets import all_targets

Content = Mapping[str, Any]

NOISE = 0.05
"""Share of the machine that others may take in the median measurement; medians over rounds absorb what is rare."""

INTRODUCTION = """# Speed

Written by `scripts/benchmark.py`; do not edit. One framework a process, all on the same machine with the same weights,
images, batches and threads, measured in turn round by round. Figures are medians over the rounds, spread is (largest -
smallest) / median, ratios are taken round by round; a target is met where the median meets it. The recipe's
augmentation and everything that the framework does between two batches are inside. `resident`: decoded images in
memory, as ready batches for lightning-tl and Keras; the loaders of plain-lightning and fastai take them one by one in
processes of their own, where plain-lightning augments them; fastai does so with whole batches, as is usual there.
`files`: JPEG files. In training lightning-tl has decoded and kept them before it is timed (its default; the table of
its means has it without), and the others decode in every epoch; in prediction all do. Keras reads them on TensorFlow
by `image_dataset_from_directory`, on torch and JAX as `keras_ref` does. It is in its defaults: channels last, compiled
on TensorFlow and JAX, eager on torch, one step a call; plain-lightning has channels first, torch's default. The
ceiling is the bare network in torch: forward in head and predict, forward and the backward of the last 20 layers in
finetune, with torch's own layers, channels last: what computes them better can come above it. `mixed` is bfloat16
arithmetic; it is compared with the fastest Keras in float32 or mixed, float32 with the fastest in float32. Peak memory
is that of a process that has been through the measures before, with its loader's; the table of growth has fresh
ones."""

AGREEMENT = """Fast and wrong does not count: a framework whose losses disagree with the reference's is refused.
*Shared draws*: the first steps of each phase, with order, augmentation, dropout and initial head from one definition
(`randomness.md`) and one resampling for each transform; equal to rounding. *Own draws*: the timed steps themselves, the
same images in the same order; the mean difference is within 4 standard errors and a margin of 5 % (mixed: 10 %). The
allowed error is the bound that applied. plain-lightning, fastai and Keras mixed on TensorFlow cannot share draws. The
first two pad as torchvision does, and plain-lightning leaves black corners: their losses may differ by what was
measured of that, 12 % (plain-lightning) and 9 % (fastai), beside the margin; the first reports did not allow for it."""


def to_markdown(content: Content) -> str:
    """The whole page."""
    parts = [
        INTRODUCTION,
        _machine(content),
        "## Targets",
        _targets(content),
        *_tables(content),
        *_blocks(content),
        "## Agreement of the losses",
        AGREEMENT,
        _table(content["agreement"]),
        *_left_out(content),
        "## Versions",
        ", ".join(f"{name} {number}" for name, number in content["versions"].items()),
        f"Of commit {', '.join(content['commits'])}." if "commits" in content else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(content: Content) -> str:
    machine, settings, load = content["machine"], content["settings"], content["load"]
    lines = [
        *_gpu(machine, settings.get("keras_pixels", "float32")),
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads for each framework, "
        f"{', '.join(machine['vector_units'])}, {machine['memory_gb']} GB, {machine['os']}, Python "
        f"{machine['python']}.",
        f"Batches of {settings['batch_size']} images of {settings['image_size']} pixels; {settings['rounds']} rounds "
        f"of {settings['steps']} steps after {settings['skip']}; images {content['weights']['images']}, weights "
        f"{content['weights']['weights']}.",
    ]
    if "gpu" not in machine and settings.get("keras_pixels", "float32") != "uint8":
        lines.append("Keras was given images in memory as float32, four times the bytes that it needs.")
    if not has_bfloat16(machine):
        which = "GPU" if "gpu" in machine else "processor"
        lines.append(f"This {which} has no bfloat16 arithmetic: mixed precision is emulated, and slow everywhere.")
    (other, most_other), (idle, most_idle) = load["other_programs"], load["idle_frameworks"]
    lines.append(
        f"Meanwhile other programs, the system's own among them, took {other:.1%} of the machine in the median "
        f"measurement and {most_other:.0%} in the worst; frameworks that should have been idle {idle:.1%} and "
        f"{most_idle:.0%}."
    )
    if any(row.get("earlier") for block in (*TABLES, *BLOCKS) for row in content.get(block, ())):
        lines.append("Rows with * are of an earlier run on this machine, and so is what stands in them.")
    if content.get("earlier_load"):
        worst = content["earlier_load"]["other_programs"][1]
        lines.append(f"In that run's worst measurement other programs took {worst:.0%}.")
    if settings["skip"] <= PREFETCHED * settings["threads"]:
        lines.append(
            f"Loaders of torch's, those of plain-lightning and fastai, had prepared {PREFETCHED * settings['threads']} "
            "batches while others were measured; what is not skipped of them came sooner than it could be loaded."
        )
    if content.get("further"):
        lines.append(f"Measured in further runs on this machine: {', '.join(content['further'])}.")
    if content.get("lent"):
        lines.append(f"These tables are of an earlier run on this machine as a whole: {', '.join(content['lent'])}.")
    if max(other, idle) > NOISE:
        lines.append("**The machine was not quiet: these figures are no evidence.**")
    return "\n".join(lines)


def _gpu(machine: Mapping[str, Any], keras_pixels: str) -> list[str]:
    """What computes, where that is a GPU."""
    if "gpu" not in machine:
        return []
    gpu = machine["gpu"]
    more = "" if keras_pixels == "uint8" else ", four times as much to send (its models take bytes too)"
    return [
        f"On one {gpu['name']} ({gpu['memory_mb']} MB, driver {gpu['driver']}; {gpu['count']} in the machine), images "
        f"in the machine's memory, as pinned bytes for torch and as {keras_pixels} for Keras{more}; float32 without "
        "TF32. Memory of the GPU is what was in use at a time, without what CUDA graphs keep to themselves; of JAX, "
        "the most since its process began. The processor beside it:"
    ]


def _targets(content: Content) -> str:
    """What was promised; the median over the rounds decides, and the least and the most of them stand beside it."""
    settings, machine = content["settings"], content["machine"]
    stated = (settings["batch_size"], settings["image_size"], machine["threads"]) == (32, 160, 2)
    note = (
        ""
        if stated or "gpu" in machine
        else "They are stated for 2 cores, batch 32 and 160 pixels, which this run did not have.\n\n"
    )
    rows = [
        {
            "target": target.what,
            "at least": target.wanted,
            "measured": target.found,
            "in single rounds": f"{min(target.rounds):.4g} to {max(target.rounds):.4g}" if target.rounds else None,
            "verdict": "**missed**" if target.verdict == "missed" else target.verdict,
            "by": target.by,
        }
        for target in all_targets(content, has_bfloat16(machine))
    ]
    return note + _table(rows)


def _tables(content: Content) -> list[str]:
    """A table for each phase and source, the fastest first."""
    titles = {"head": "Training the head", "finetune": "Fine-tuning", "predict": "Prediction"}
    parts = []
    for phase, source in dict.fromkeys((row["phase"], row["source"]) for row in content["rows"]):
        own = [row for row in content["rows"] if (row["phase"], row["source"]) == (phase, source)]
        parts += [f"## {titles[phase]}, {source}", _speeds(own)]
    if content["validation"]:
        parts += ["## Validation, resident", _speeds(content["validation"])]
    return parts


def _speeds(rows: Sequence[Content]) -> str:
    return _table(
        {
            **({"earlier": True} if row.get("earlier") else {}),
            "framework": row["framework"],
            "precision": row["precision"],
            "images/s": row["images_per_second"],
            "spread": f"{row['spread']:.1%}",
            "times fastest Keras": row["ratio_to_fastest_keras"],
            "of the ceiling": row["fraction_of_ceiling"],
            "peak memory, MiB": row["peak_memory_mb"],
            **({"of the GPU, MiB": row["peak_gpu_memory_mb"]} if "peak_gpu_memory_mb" in row else {}),
        }
        for row in sorted(rows, key=lambda row: -row["images_per_second"])
    )


def _blocks(content: Content) -> list[str]:
    """The measures with processes of their own, where they were taken."""
    titles = {
        "startup": (
            "Start-up: seconds from the start of a process, of fine-tuning's first step from the start of its phase "
            "(lightning-tl is imported as by its command)"
        ),
        "loading": "From files against from memory, in the same rounds",
        "time_to_accuracy": (
            "Time to an accuracy on held-out images, with validation and compilation"
            + (", each time in a new process" if content["settings"].get("anew") else " (kept by torch)")
        ),
        "growth": "How speed and memory grow",
        "scaling": "One process and several",
        "means": "What each of lightning-tl's means is worth: speed with all of them over speed without it",
        "ceiling": "The ceiling",
    }
    parts = []
    for block, title in titles.items():
        if content.get(block):
            plain = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in content[block]]
            parts += [f"## {title}", _table(plain)]
    return parts


def _left_out(content: Content) -> list[str]:
    refused = [f"- **refused** {item['framework']}: {item['reason']}" for item in content["refused"]]
    absent = [f"- {item.get('framework') or item['measure']}: {item['reason']}" for item in content["left_out"]]
    lines = [*refused, *absent]
    return ["## Not counted", "\n".join(lines)] if lines else []


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    if not rows:
        return "none"
    header = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "earlier"]
    cells = [[_cell(row.get(name)) for name in header] for row in rows]
    starred = [
        [f"{first} *", *others] if row.get("earlier") else [first, *others]
        for row, (first, *others) in zip(rows, cells, strict=True)
    ]
    lines = [header, ["---"] * len(header), *starred]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
