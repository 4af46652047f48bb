"""What each of the means by which lightning-tl is fast is worth."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from benchmarks.alive import alive
from benchmarks.frameworks import Framework, Precision
from benchmarks.prepare import Ground
from benchmarks.rounds import Sample, middle, ratios
from benchmarks.settings import PHASES


class Means(NamedTuple):
    """One thing that lightning-tl does to be fast.

    Attributes:
        name: what it is.
        source: on which it shows.
        off: the options that switch it off.
        needs: options without which it cannot be on.
        precision: in which it is measured.
        on: accelerators on which it is anything.
    """

    name: str
    source: str
    off: dict[str, Any]
    needs: dict[str, Any] = {}  # noqa: RUF012  # nobody writes to it
    precision: Precision = "float32"
    on: tuple[str, ...] = ("cpu",)


NO_AUGMENTATION = {"augment": ()}
NO_GRAPH = {"no_graph": True}
STEPS_APART = {"steps_apart": True}
PLAIN_LAYOUT = {**NO_GRAPH, "plain_layout": True}
BY_ITSELF = {**PLAIN_LAYOUT, "norms_apart": True}
EVERYWHERE = ("cpu", "gpu")
MEANS = (
    Means("flip, rotation and zoom in one resampling", "resident", {"fused": False}, on=EVERYWHERE),
    Means("channels last", "resident", {"channels_last": False}, on=EVERYWHERE),
    Means("freed memory kept for the next step", "resident", {"keep_memory": False}),
    Means("frozen layers as one graph of oneDNN's", "resident", NO_GRAPH),
    Means("training steps as one CUDA graph", "resident", STEPS_APART, on=("gpu",)),
    Means(
        "without that: frozen layers as one CUDA graph",
        "resident",
        {**STEPS_APART, **NO_GRAPH},
        STEPS_APART,  # which has frozen layers in it
        on=("gpu",),
    ),
    Means(
        "without that: augmentation and draws of dropout as CUDA graphs",
        "resident",
        {**STEPS_APART, "unrecorded": True},
        STEPS_APART,  # as a step that is not recorded draws dropout by a graph of its own
        on=("gpu",),
    ),
    Means("BatchNorm that trains as a scale of the kernel", "resident", {"norms_apart": True}),
    Means("Adam in one pass", "resident", {"adam_in_passes": True}, on=EVERYWHERE),
    Means(
        "without a graph: frozen blocks in oneDNN's layout",
        "resident",
        PLAIN_LAYOUT,
        NO_GRAPH,  # as for batches that have none
    ),
    Means("frozen blocks in oneDNN's layout", "resident", PLAIN_LAYOUT, precision="mixed"),
    Means(
        "without all of these: BatchNorm folded into frozen convolutions",
        "resident",
        {**BY_ITSELF, "fold_batchnorm": False},
        BY_ITSELF,  # the others need it
        on=EVERYWHERE,
    ),
    Means(
        "without graph and layout: channels last",
        "resident",
        {**PLAIN_LAYOUT, "channels_last": False},
        PLAIN_LAYOUT,  # as in networks whose blocks it does not suit
    ),
    Means(
        "without that layout: TensorFlow's padding without a padded copy",
        "resident",
        {**PLAIN_LAYOUT, "padded_copies": True},
        PLAIN_LAYOUT,
        precision="mixed",
    ),
    Means(
        "without that layout: ReLU6 in the convolution's own pass",
        "resident",
        {**PLAIN_LAYOUT, "separate_relu6": True},
        PLAIN_LAYOUT,
        precision="mixed",
    ),
    Means("decoded images kept", "files", {"cache": "none"}, on=EVERYWHERE),
    Means(
        "features kept, without augmentation",
        "resident",
        {**NO_AUGMENTATION, "cache_features": False},
        {**NO_AUGMENTATION, "cache_features": True},
        on=EVERYWHERE,
    ),
)
"""Options of a constructor that the installed version does not have are left out."""


def means(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """lightning-tl with each of its means switched off, against itself with all; a piece for each ``_together``.

    The one compared is the first lightning-tl of the table in the means' precision: as it is by default.
    """
    pieces: list[Callable[[], list[dict[str, Any]]]] = []
    for group in _together():
        first = group[0]
        for base in [f for f in frameworks if f.family == "lightning-tl" and f.precision == first.precision][:1]:
            on = replace(base, name="with all", options={**base.options, **first.needs}) if first.needs else base
            without = [
                (mean, replace(base, name=f"without: {mean.name}", options={**base.options, **mean.off}))
                for mean in group
                if _switches(on, mean.off) and ground.settings.accelerator in mean.on
            ]
            if without:
                pieces.append(partial(_measured, ground, on, without, first.source))
    return pieces


def _together() -> list[list[Means]]:
    """The means by what they are measured against: one source, precision, and the same needs."""
    groups: list[list[Means]] = []
    for mean in MEANS:
        alike = [group for group in groups if _place(group[0]) == _place(mean)]
        groups = groups if alike else [*groups, []]
        (alike or groups[-1:])[0].append(mean)
    return groups


def _place(mean: Means) -> tuple[Any, ...]:
    return (mean.source, mean.precision, mean.needs)


def _measured(
    ground: Ground, base: Framework, without: Sequence[tuple[Means, Framework]], source: str
) -> list[dict[str, Any]]:
    """Rows of one source: a mean and a phase each."""
    with alive(ground, [base, *(framework for _, framework in without)]) as group:
        samples = {phase: group.train(phase, source, ground.settings) for phase in PHASES}
    return [
        _row(mean, framework, phase, found[framework.key], found[base.key])
        for phase, found in samples.items()
        for mean, framework in without
        if framework.key in found and base.key in found
    ]


def _row(mean: Means, framework: Framework, phase: str, off: Sequence[Sample], on: Sequence[Sample]) -> dict[str, Any]:
    return {
        "means": mean.name,
        "switched_off_by": mean.off,
        "precision": framework.precision,
        "phase": phase,
        "source": mean.source,
        "images_per_second": middle(sample.speed for sample in on),
        "without": middle(sample.speed for sample in off),
        "gain": middle(ratios(on, off)),
    }


def _switches(base: Framework, options: dict[str, Any]) -> bool:
    """Whether these options change ``base``, and the installed lightning-tl has them."""
    from benchmarks.runners.transfer import divide  # imports torch: only where it is needed

    try:
        divide(options)
    except TypeError:
        return False
    return any(base.options.get(option, not value) != value for option, value in options.items())
