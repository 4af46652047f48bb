"""The whole page: sections, style, scripts and data in one file that needs nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from lightning_tl.errors import InputError
from lightning_tl.files import behind_links, write_text
from lightning_tl.report.blocks import section
from lightning_tl.report.comparison import class_differences, differences, runs_table
from lightning_tl.report.gallery import Gallery
from lightning_tl.report.headline import cautions, duplicates, headline
from lightning_tl.report.markup import Markup, as_json, joined, tag
from lightning_tl.report.provenance import provenance
from lightning_tl.report.run import Run, read_runs
from lightning_tl.report.sections import augmented, balance, class_table, reliability
from lightning_tl.report.summary import Summary, summarize
from lightning_tl.report.training import curves

LIMIT = 5_000_000
"""Bytes that a page stays below."""
ROOMS = (3_000_000, 2_000_000, 1_000_000, 300_000, 0)
"""Characters for images and what is said of them, tried in turn until the page is small enough."""
SCRIPTS = ("tips.js", "tables.js", "matrix.js", "gallery.js")


def write_report(folders: Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Write a page about one run or several.

    Args:
        folders: run folders, of either framework.
        output: the file; by default report.html in the run folder, for several runs comparison.html in the first's. A
            link stays one: what it leads to is written.

    Returns:
        The file's path.

    Raises:
        InputError: a folder is no run folder, or the file cannot be written.
    """
    runs = read_runs(folders)
    path = Path(output) if output is not None else runs[0].folder / ("comparison.html" if runs[1:] else "report.html")
    if path.is_dir():
        raise InputError(f"--output: {str(path)!r} is a folder. Give a file.")
    text = render(runs)
    try:
        write_text(behind_links(path), text)
    except OSError as error:
        raise InputError(f"--output: {str(path)!r} cannot be written: {error}. Give another file.") from error
    return path


def render(runs: Sequence[Run]) -> str:
    """The page as HTML, below ``LIMIT`` bytes of UTF-8.

    Raises:
        InputError: so many runs or classes that even a page without pictures is larger.
    """
    summaries = [summarize(run) for run in runs]
    body = _body(summaries)
    gallery = Gallery(summaries)
    for room in ROOMS:
        page = _page(_title(summaries), body, as_json(gallery.data(room)))
        if len(page.encode()) < LIMIT:
            return page
    if len(runs) == 1:
        raise InputError(
            f"RUN: a page about this run of {len(runs[0].classes)} classes would pass {LIMIT} bytes, even without "
            "pictures. Its figures are in results.json and predictions.csv of the run folder."
        )
    raise InputError(f"RUN: a page about these {len(runs)} runs would pass {LIMIT} bytes. Give fewer runs.")


def _title(summaries: Sequence[Summary]) -> str:
    if len(summaries) == 1:
        return summaries[0].name
    return " and ".join([", ".join(summary.name for summary in summaries[:-1]), summaries[-1].name])


def _body(summaries: Sequence[Summary]) -> Markup:
    """All sections in the order of the questions that a reader has."""
    several = len(summaries) > 1
    tables = [class_table(summary) for summary in summaries]
    if several:
        single = tag("details", tag("summary", "Precision, recall and F1 of each run"), *tables)
        top = [section("headline", "Runs", runs_table(summaries)), differences(summaries)]
        classes = section("classes", "Classes", class_differences(summaries), single)
    else:
        top = [headline(summaries[0])]
        classes = section("classes", "Classes", *tables)
    return joined(
        cautions(summaries),
        *top,
        curves(summaries),
        _matrix(),
        classes,
        _gallery(summaries),
        reliability(summaries),
        augmented(summaries),
        balance(summaries),
        duplicates(summaries),
        provenance(summaries),
    )


def _matrix() -> Markup:
    note = (
        "Rows are the true classes, columns the predicted ones; colour is the share of the true class: blue for hits, "
        "orange for mistakes. Choose a cell to see its images."
    )
    return section("matrix", "Confusion matrix", tag("div", _without_script(), id="matrix-box"), note=note)


def _gallery(summaries: Sequence[Summary]) -> Markup:
    note = "The most confident mistakes first; then the hits that were least certain, and some of each kind of mistake."
    if any(summary.pictures.explained for summary in summaries):
        note += (
            " Beside a mistake, its Grad-CAM overlay where the run has left one: what of the image spoke for the "
            "predicted class (Selvaraju et al. 2017)."
        )
    else:
        note += " There are no Grad-CAM overlays: they are made at the end of fit, and no run here has left any."
    return section("gallery", "Images", tag("div", _without_script(), id="gallery-box"), note=note)


def _without_script() -> Markup:
    return tag("noscript", tag("p", "This part needs JavaScript.", class_="empty"))


def _page(title: str, body: Markup, data: Markup) -> str:
    style = _read("page.css")
    script = '"use strict";\n' + "".join(f"(() => {{\n{_read(name)}}})();\n" for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"title": joined(title), "policy": policy, "style": style, "body": body, "data": data, "script": script}
    return Template(_read("page.html")).substitute(parts)


def _source(text: str) -> str:
    """What a content security policy calls exactly this text, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return (files("lightning_tl.report") / name).read_text(encoding="utf-8")
