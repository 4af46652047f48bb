"""The data of matrix and gallery: counts of all predictions, and those images that there is room for."""

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lightning_tl.report.choice import Item, choose, join
from lightning_tl.report.markup import shown
from lightning_tl.report.summary import Summary


class Gallery:
    """Chosen images of some runs with their pictures, the most telling first.

    Args:
        summaries: of the runs.
    """

    def __init__(self, summaries: Sequence[Summary]) -> None:
        self._summaries = summaries
        self._names = list(dict.fromkeys(name for summary in summaries for name in summary.run.classes))
        self._place = {name: number for number, name in enumerate(self._names)}
        items = join([summary.run for summary in summaries])
        self._disputed = [
            sum(item.disputed and item.answers[run] is not None for item in items) for run in range(len(summaries))
        ]
        self._items = choose(items)
        self._thumbnails: dict[int, str] = {}
        self._overlays: dict[tuple[int, int], str] = {}

    def data(self, room: int) -> dict[str, Any]:
        """What the page's scripts read, of about ``room`` characters beside the counts.

        Returns:
            ``classes``: names.
            ``runs``: of each its name, tested split and ``cells``: by split, ``[true, predicted, count]`` of every cell
            that is not empty.
            ``disputed``: for each run, images on which the runs disagree.
            ``items``: ``[path, split, true, answers, picture or -1, overlay or -1 for each run]``; an answer is null
            or ``[predicted, probability, probability of the true class, split]``.
            ``pictures``, ``overlays``: JPEG as base64.
        """
        items: list[Any] = []
        pictures: list[str] = []
        overlays: list[str] = []
        for number, item in enumerate(self._items):
            if room <= 0:
                break
            picture = self._thumbnail(number, item)
            drawn = [self._overlay(number, run, item) for run in range(len(self._summaries))]
            entry = self._entry(item)
            entry.append(_keep(pictures, picture))
            entry.append([_keep(overlays, overlay) for overlay in drawn])
            items.append(entry)
            room -= len(picture) + sum(map(len, drawn)) + len(entry[0]) + 60
        return {
            "classes": [shown(name) for name in self._names],
            "runs": [self._run(summary) for summary in self._summaries],
            "disputed": self._disputed,
            "items": items,
            "pictures": pictures,
            "overlays": overlays,
        }

    def _entry(self, item: Item) -> list[Any]:
        answers = [
            answer
            and [self._place[answer.predicted], round(answer.confidence, 4), round(answer.of_truth, 4), answer.split]
            for answer in item.answers
        ]
        return [shown(item.path), item.split, self._place[item.label], answers]

    def _run(self, summary: Summary) -> dict[str, Any]:
        counts = Counter(
            (row.split, self._place[row.label], self._place[row.predicted]) for row in summary.run.predictions
        )
        cells: dict[str, list[list[int]]] = {summary.run.split: []}
        for (split, true, predicted), count in counts.items():
            cells.setdefault(split, []).append([true, predicted, count])
        return {"name": summary.name, "split": summary.run.split, "cells": cells}

    def _thumbnail(self, number: int, item: Item) -> str:
        """Base64 of the picture that the first run with one has; empty without."""
        if number not in self._thumbnails:
            found = (
                s.pictures.thumbnail(a.split, item.path)
                for s, a in zip(self._summaries, item.answers, strict=True)
                if a
            )
            self._thumbnails[number] = _base64(next((jpeg for jpeg in found if jpeg), None))
        return self._thumbnails[number]

    def _overlay(self, number: int, run: int, item: Item) -> str:
        """Base64 of the run's Grad-CAM overlay; empty without."""
        if (number, run) not in self._overlays:
            answer = item.answers[run]
            jpeg = answer and self._summaries[run].pictures.gradcam(answer.split, item.path)
            self._overlays[number, run] = _base64(jpeg or None)
        return self._overlays[number, run]


def _base64(jpeg: bytes | None) -> str:
    return base64.b64encode(jpeg).decode() if jpeg else ""


def _keep(kept: list[str], picture: str) -> int:
    """Add a picture; its number, -1 for none."""
    if not picture:
        return -1
    kept.append(picture)
    return len(kept) - 1
