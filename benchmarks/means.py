"""What each of the means by which lightning-tl is fast is worth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from benchmarks.alive import alive
from benchmarks.frameworks import Framework, Precision
from benchmarks.prepare import Ground
from benchmarks.rounds import Sample, middle, ratios, spread
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
        phases: in which it is so.
    """

    name: str
    source: str
    off: dict[str, Any]
    needs: dict[str, Any] = {}  # noqa: RUF012  # nobody writes to it
    precision: Precision = "float32"
    on: tuple[str, ...] = ("cpu",)
    phases: tuple[str, ...] = PHASES


NO_AUGMENTATION = {"augment": ()}
NO_GRAPH = {"no_graph": True}
STEPS_APART = {"steps_apart": True}
PLAIN_LAYOUT = {**NO_GRAPH, "plain_layout": True}
BY_ITSELF = {**PLAIN_LAYOUT, "norms_apart": True, "separate_passes": True}
ALL_LAYERS = {"all_layers": True}
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
    Means("bias and ReLU6 of a frozen convolution in one pass", "resident", {"separate_passes": True}, on=("gpu",)),
    Means(
        "where all layers train: BatchNorm as a scale of the kernel",
        "resident",
        {**ALL_LAYERS, "norms_apart": True},
        ALL_LAYERS,  # of the last ones the maps are small, and nothing shows
        phases=("finetune",),
    ),
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
        phases=("head",),  # the other one freezes too little
    ),
)
"""Options of a constructor that the installed version does not have are left out."""


class Pair(NamedTuple):
    """lightning-tl with one of its means and all that it needs, and without it."""

    mean: Means
    on: Framework
    off: Framework


def means(ground: Ground, frameworks: Sequence[Framework]) -> list[Callable[[], list[dict[str, Any]]]]:
    """lightning-tl with each of its means switched off, against itself with all; a piece for each ``_together``.

    The one compared is the first lightning-tl of the table in the means' precision: as it is by default.
    """
    pieces: list[Callable[[], list[dict[str, Any]]]] = []
    for group in _together(ground.settings.accelerator):
        ours = [f for f in frameworks if f.family == "lightning-tl" and f.precision == group[0].precision][:1]
        pairs = [Pair(mean, _with(base, mean.needs), _with(base, mean.off)) for mean in group for base in ours]
        if pairs := [pair for pair in pairs if _switches(pair.on, pair.mean.off)]:
            pieces.append(partial(_measured, ground, pairs))
    return pieces


def _together(accelerator: str) -> list[list[Means]]:
    """The means by what is alive with them: one source and precision, and on a CPU, which is small, the same needs."""
    groups: dict[Any, list[Means]] = {}
    for mean in MEANS:
        apart = tuple(need for need in mean.needs.items() if accelerator == "cpu" or need[0] in NO_AUGMENTATION)
        if accelerator in mean.on:
            groups.setdefault((mean.source, mean.precision, apart), []).append(mean)
    return list(groups.values())


def _with(base: Framework, options: Mapping[str, Any]) -> Framework:
    """The framework with these options, by which it is named: the same ones are one process."""
    name = ", ".join([base.name, *(f"{option}={value}" for option, value in options.items())])
    return replace(base, name=name, options={**base.options, **options})


def _measured(ground: Ground, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Rows of one source: a mean and a phase each."""
    source = pairs[0].mean.source
    frameworks = {framework.key: framework for pair in pairs for framework in (pair.on, pair.off)}
    with alive(ground, list(frameworks.values())) as group:
        phases = [phase for phase in PHASES if any(phase in pair.mean.phases for pair in pairs)]
        samples = {phase: group.train(phase, source, ground.settings) for phase in phases}
    return [
        _row(mean, off, phase, found[off.key], found[on.key])
        for phase, found in samples.items()
        for mean, on, off in pairs
        if phase in mean.phases and on.key in found and off.key in found
    ]


def _row(mean: Means, framework: Framework, phase: str, off: Sequence[Sample], on: Sequence[Sample]) -> dict[str, Any]:
    gains = ratios(on, off)
    return {
        "means": mean.name,
        "switched_off_by": mean.off,
        "precision": framework.precision,
        "phase": phase,
        "source": mean.source,
        "images_per_second": middle(sample.speed for sample in on),
        "without": middle(sample.speed for sample in off),
        "gain": middle(gains),
        "spread": spread(gains),
    }


def _switches(base: Framework, options: dict[str, Any]) -> bool:
    """Whether these options change ``base``, and the installed lightning-tl has them."""
    from benchmarks.runners.transfer import divide  # imports torch: only where it is needed

    try:
        divide(options)
    except TypeError:
        return False
    return any(base.options.get(option, not value) != value for option, value in options.items())
