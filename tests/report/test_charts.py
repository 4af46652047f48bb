"""Charts: values are where they belong, and any numbers make a chart."""

import re

import pytest

from lightning_tl.report import svg
from lightning_tl.report.charts import Line, Stretch, line_chart, reliability_chart, share_bar
from lightning_tl.report.measures import calibration


@pytest.mark.parametrize(
    ("values", "top", "expected"),
    [
        ([0.31, 0.97], None, [0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0.83, 0.91], 1.0, [0.8, 0.85, 0.9, 0.95, 1.0]),
        ([0.5], None, [0.5, 0.6]),
        ([0.0], None, [0.0, 0.2]),
        ([1.0], 1.0, [0.8, 1.0]),
        ([1.0, 1.0], None, [1.0, 1.2]),
        ([1e-9, 4e-9], None, [1e-9, 2e-9, 3e-9, 4e-9]),
        ([3.0, 4e6], None, [0, 1e6, 2e6, 3e6, 4e6]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(values: list[float], top: float | None, expected: list[float]) -> None:
    assert svg.ticks(values, top) == pytest.approx(expected)


def test_points_lie_between_their_ticks() -> None:
    """Values 0, 0.5 and 1 on an axis from 0 to 1: bottom, middle and top of the plot area."""
    drawn = line_chart("t", [Line("a", 0, False, [(1, 0.0), (2, 0.5), (3, 1.0)])], [Stretch("p", 1, 3)], 1.0)
    (path,) = re.findall(r'd="(M[^"]+)" class="curve"', drawn)
    ys = [float(point.split()[1]) for point in path[1:].split("L")]
    bottom = svg.HEIGHT - svg.BOTTOM
    assert ys == [bottom, (svg.TOP + bottom) / 2, svg.TOP]
    assert "boundary" not in drawn


def test_a_bar_is_as_high_as_its_accuracy() -> None:
    bins = calibration([(0.99, True), (0.98, True), (0.97, False), (0.97, True)])
    drawn = reliability_chart("t", bins, 0)
    ((y, height),) = re.findall(
        r'y="([\d.]+)" [^>]*height="([\d.]+)"[^>]*', drawn.split('class="bar"')[1].split("</rect>")[0]
    )
    side = svg.HEIGHT - svg.TOP - svg.BOTTOM
    assert float(height) == pytest.approx(0.75 * side, abs=0.01)
    assert float(y) + float(height) == pytest.approx(svg.TOP + side, abs=0.01)
    assert "4 images" in drawn


def test_ticks_are_at_the_mean_confidence_and_counts_are_shares_of_the_fullest_bin() -> None:
    drawn = reliability_chart("t", calibration([(0.99, True), (0.98, False), (0.97, True), (0.3, True)]), 0)
    side = svg.HEIGHT - svg.TOP - svg.BOTTOM
    ideal = [float(y) for y in re.findall(r'class="ideal" [^>]*y1="([\d.]+)"', drawn)]
    assert ideal == pytest.approx([svg.TOP + side * (1 - 0.3), svg.TOP + side * (1 - 0.98)], abs=0.01)
    few, many = (float(height) for height in re.findall(r'class="count" [^>]*height="([\d.]+)"', drawn))
    assert few == pytest.approx(many / 3, abs=0.01)


def test_a_bar_of_parts_is_as_long_as_its_share() -> None:
    assert re.findall(r'x="([\d.]+)" y="0" width="([\d.]+)"', share_bar([10, 5], 20)) == [("0", "50"), ("50", "25")]
    assert share_bar([0, 0], 0)


def test_names_of_phases_keep_within_their_stretch() -> None:
    drawn = line_chart(
        "t", [Line("a", 0, False, [(1, 0.1), (40, 0.2)])], [Stretch("<b>" * 9, 1, 1), Stretch("x", 2, 40)]
    )
    names = re.findall(r'class="phase">([^<]*)<', drawn)
    assert names == ["…", "x"]
