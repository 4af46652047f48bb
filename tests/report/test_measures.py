"""The report's statistics against published numbers and by hand."""

import math

import pytest

from lightning_tl.report import measures


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_intervals(hits: int, total: int, low: float, high: float) -> None:
    assert measures.wilson(hits, total) == pytest.approx((low, high), abs=5e-5)
    mirrored = measures.wilson(total - hits, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilson_without_images_says_nothing() -> None:
    assert measures.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (16, 6, 110056 / 2**21),  # 2 (1 + 22 + 231 + 1540 + 7315 + 26334 + 74613) / 2^22
        (2, 8, 112 / 1024),  # 2 (1 + 10 + 45) / 2^10
        (0, 5, 1 / 16),
        (3, 3, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int, p: float) -> None:
    assert measures.mcnemar(first, second) == pytest.approx(p, abs=5e-5)
    assert measures.mcnemar(second, first) == measures.mcnemar(first, second)


def test_mcnemar_of_many_images_continues_the_exact_test(monkeypatch: pytest.MonkeyPatch) -> None:
    approximate = measures.mcnemar(640, 560)
    squared = (80 - 1) ** 2 / 1200
    assert approximate == pytest.approx(math.erfc(math.sqrt(squared / 2)))
    monkeypatch.setattr(measures, "EXACT_UP_TO", 10_000)
    assert approximate == pytest.approx(measures.mcnemar(640, 560), rel=0.01)
    # a normal deviate of 1.96 is the bound at 5 %: (|b - c| - 1)^2 / 10000 = 1.96^2
    monkeypatch.setattr(measures, "EXACT_UP_TO", 1000)
    assert measures.mcnemar(5098, 4901) == pytest.approx(0.05, abs=1e-3)


def test_calibration_error_by_hand() -> None:
    """Three bins of five: 0.35 and 0.25 in the second, 0.9 in the last, 1/5 on the upper bound of the first."""
    predictions = [(0.35, True), (0.25, False), (0.9, True), (0.2, False)]
    bins = measures.calibration(predictions, bins=5)
    assert [part.count for part in bins] == [1, 2, 0, 0, 1]
    assert bins[1].confidence == pytest.approx(0.3)
    assert bins[1].accuracy == 0.5
    expected = (1 * abs(0 - 0.2) + 2 * abs(0.5 - 0.3) + 1 * abs(1 - 0.9)) / 4
    assert measures.calibration_error(bins) == pytest.approx(expected)


def test_calibration_takes_in_both_ends() -> None:
    bins = measures.calibration([(0.0, False), (1.0, True), (1.0, True)])
    assert len(bins) == 15
    assert (bins[0].count, bins[-1].count) == (1, 2)
    assert measures.calibration_error(bins) == 0
    assert math.isnan(measures.calibration_error(measures.calibration([])))


def test_class_scores_by_hand() -> None:
    pairs = [("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("b", "a")]
    a, b, c = measures.class_scores(pairs, ("a", "b", "c"))
    assert (a.precision, a.recall, a.f1, a.support) == (2 / 3, 2 / 3, 4 / 6, 3)
    assert (b.precision, b.recall, b.f1, b.support) == (1 / 2, 1 / 2, 1 / 2, 2)
    assert (c.precision, c.recall, c.f1, c.support) == (None, None, None, 0)
    assert measures.macro_f1([a, b, c]) == pytest.approx((2 / 3 + 1 / 2) / 2)
