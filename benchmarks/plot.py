"""docs/benchmark.png: speeds as bars, one panel a phase, with the ceiling as a line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
from matplotlib.axes import Axes

from benchmarks.machine import computes_on
from lightning_tl.files import replacing

COLOURS = {"lightning-tl": "#c2410c", "keras": "#2563eb", "plain-lightning": "#6b7280", "fastai": "#a16207"}
PANELS = {
    ("head", "resident"): "Training the head\nimages in memory",
    ("finetune", "resident"): "Fine-tuning the last 20 layers\nimages in memory",
    ("predict", "resident"): "Prediction\nimages in memory",
    ("head", "files"): "Training the head\nfrom JPEG files, after the first epoch",
    ("finetune", "files"): "Fine-tuning the last 20 layers\nfrom JPEG files, after the first epoch",
    ("predict", "files"): "Prediction\nfrom JPEG files",
}
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
"""Of a figure's text, so that a ceiling's line does not strike it through."""
LABEL: dict[str, Any] = {"va": "center", "fontsize": 8, "bbox": BEHIND, "zorder": 3}
"""Of what is said beside a bar, or in the place of one."""


def draw(content: Mapping[str, Any], path: Path) -> None:
    """Save the ``picture`` as PNG."""
    with replacing(path) as temporary:
        picture(content).savefig(temporary, format="png", dpi=130)


def picture(content: Mapping[str, Any]) -> matplotlib.figure.Figure:
    """Panels of a report: a bar is the median over rounds, its whisker the range."""
    places = [place for place in PANELS if _rows(content, place)] or [next(iter(PANELS))]
    names = _names(content["rows"])
    columns = min(3, len(places))
    lines = -(-len(places) // columns)
    figure = matplotlib.figure.Figure(
        figsize=(4.6 * columns + 1.6, lines * (1.6 + 0.32 * len(names))), layout="constrained"
    )
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(places) :]:
        axes.set_visible(False)
    for axes, place in zip(grid.flat, places, strict=False):
        _panel(axes, content, place, names)
    machine, settings = content["machine"], content["settings"]
    starred = "; * in an earlier run there" if any(row.get("earlier") for row in content["rows"]) else ""
    figure.suptitle(
        f"Transfer learning with MobileNetV2, images per second: more is better\n{computes_on(machine)}, "
        f"batches of {settings['batch_size']} images of {settings['image_size']} pixels{starred}",
        fontsize=12,
    )
    handles, labels = grid.flat[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, content: Mapping[str, Any], place: tuple[str, str], names: Sequence[str]) -> None:
    """One phase and source: the same frameworks at the same height in every panel."""
    widest = max((max(row["rounds"]) for row in _rows(content, place)), default=1.0)
    for row in _rows(content, place):
        height, speed = names.index(_name(row)), row["images_per_second"]
        whisker = [[speed - min(row["rounds"])], [max(row["rounds"]) - speed]]
        mixed = row["precision"] == "mixed"
        axes.barh(
            height,
            speed,
            xerr=whisker,
            color=COLOURS[row["family"]],
            alpha=0.65 if mixed else 1.0,
            error_kw={"ecolor": "black", "capsize": 2, "linewidth": 0.8},
        )
        ratio = row["ratio_to_fastest_keras"]
        star = " *" if row.get("earlier") else ""
        label = (
            f"{speed:.0f}{star}"
            if ratio is None or row["family"] == "keras"
            else f"{speed:.0f}{star}  ({ratio:.1f} x Keras)"
        )
        axes.text(max(row["rounds"]) + 0.02 * widest, height, label, **LABEL)
    measured = {_name(row) for row in _rows(content, place)}
    for height in (height for height, name in enumerate(names) if name not in measured):
        axes.text(0.01 * widest, height, "not measured", color="#6b7280", style="italic", **LABEL)
    for precision, style in (("float32", "-"), ("mixed", "--")):
        top = _ceiling(content, place, precision)
        if top:
            widest = max(widest, top / 1.3)
            axes.axvline(
                top,
                color="black",
                linestyle=style,
                linewidth=1,
                label=f"the bare network alone, of torch's own layers, {precision}",
            )
    axes.set(title=PANELS[place], xlim=(0, 1.35 * widest))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _rows(content: Mapping[str, Any], place: tuple[str, str]) -> list[Mapping[str, Any]]:
    return [row for row in content["rows"] if (row["phase"], row["source"]) == place]


def _name(row: Mapping[str, Any]) -> str:
    return row["framework"] if row["precision"] == "float32" else f"{row['framework']}, bfloat16"


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Families together, ours first."""
    families = list(COLOURS)
    ordered = sorted(rows, key=lambda row: (families.index(row["family"]), row["framework"], row["precision"]))
    return list(dict.fromkeys(_name(row) for row in ordered))


def _ceiling(content: Mapping[str, Any], place: tuple[str, str], precision: str) -> float:
    """Speed of the bare network where the panel has one: from files it has none."""
    found = [
        row for row in content["ceiling"] if (row["phase"], row["source"], row["precision"]) == (*place, precision)
    ]
    return max((row["images_per_second"] for row in found), default=0.0)
