"""Figures in the cells of the confusion matrix stand out from their cells in both themes."""

import re
from importlib.resources import files

import pytest

Colour = tuple[float, ...]
"""Red, green, blue in [0, 1], as sRGB codes them."""

STYLE = (files("lightning_tl.report") / "page.css").read_text(encoding="utf-8")
SCRIPT = (files("lightning_tl.report") / "matrix.js").read_text(encoding="utf-8")
PAIR = r"light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)"
THEMES = ("light", "dark")


def colour(pattern: str, theme: str) -> Colour:
    """What ``pattern`` and a pair of colours say in the style sheet."""
    found = re.search(pattern + PAIR, STYLE)
    assert found is not None, pattern
    code = found[1 + THEMES.index(theme)]
    return tuple(int(code[place : place + 2], 16) / 255 for place in (0, 2, 4))


def luminance(colour: Colour) -> float:
    """Relative, of WCAG 2.2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: Colour, second: Colour) -> float:
    """Of WCAG 2.2: 1 of equal colours, 21 of black on white."""
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("kind", "tone"), [("hits", "hit"), ("misses", "miss")])
def test_the_figure_of_a_cell_has_the_colour_that_reads_better(kind: str, tone: str, theme: str) -> None:
    ink, deep, full = (colour(rf"--{name}: ", theme) for name in ("ink", "deep", tone))
    empty = colour(r"\.matrix td \{.*color-mix\(.*, ", theme)
    limits = re.search(rf"DEEP = .*{kind}: {{ light: (\d+), dark: (\d+) }}", SCRIPT)
    assert limits is not None
    limit = int(limits[1 + THEMES.index(theme)])
    seen = []
    for percent in range(101):
        cell = tuple((percent * a + (100 - percent) * b) / 100 for a, b in zip(full, empty, strict=True))
        chosen, other = (deep, ink) if percent >= limit else (ink, deep)
        assert contrast(chosen, cell) >= contrast(other, cell), percent
        seen.append(contrast(chosen, cell))
    assert min(seen) > 3.9
