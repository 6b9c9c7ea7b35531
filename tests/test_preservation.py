"""Correlations against scipy, in one piece and in batches."""

import math

import numpy as np
import pytest
from scipy import stats

from viscnn.engine.preservation import PearsonSums, pearson, spearman, summarise
from viscnn.errors import StoredDataError


def maps(seed: int, mix: float, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    one = generator.normal(size=(13, 7, 6)) + offset
    return one, mix * one + (1 - abs(mix)) * generator.normal(size=one.shape) + offset


@pytest.mark.parametrize("mix", [0.9, 0.2, 0.0, -0.5, 1.0, -1.0])
def test_pearson_and_spearman_agree_with_scipy(mix: float) -> None:
    one, other = maps(1, mix)
    assert pearson(one, other) == pytest.approx(stats.pearsonr(one.ravel(), other.ravel()).statistic, abs=1e-13)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic, abs=1e-13)


def test_by_hand() -> None:
    assert pearson([1, 2, 3], [1, 2, 4]) == pytest.approx(3 / math.sqrt(2 * 14 / 3), abs=1e-15)
    assert spearman([1, 2, 3, 4], [1, 10, 5, 10]) == pytest.approx(0.632455532033676, abs=1e-14)  # 2 / sqrt(10)
    assert spearman([1, 2, 3], [1, 10, 1000]) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("cuts", [[1], [5, 6], list(range(1, 13))])
def test_batches_give_the_same_r_as_the_whole(cuts: list[int], offset: float) -> None:
    one, other = maps(2, 0.4, offset)
    merged = PearsonSums()
    for first, second in zip(np.split(one, cuts), np.split(other, cuts), strict=True):
        merged = merged + PearsonSums.of(first, second)
    whole = stats.pearsonr((one - offset).ravel(), (other - offset).ravel()).statistic
    assert merged.count == one.size
    assert merged.r == pytest.approx(whole, abs=1e-9 if offset else 1e-13)
    assert merged.mean_a == pytest.approx(one.mean(), rel=1e-13, abs=1e-13)


def test_the_order_of_merging_and_empty_batches_do_not_matter() -> None:
    one, other = maps(3, 0.6)
    parts = [PearsonSums.of(one[k], other[k]) for k in range(3)] + [PearsonSums.of([], [])]
    forward = parts[0] + parts[1] + parts[2] + parts[3]
    backward = parts[3] + (parts[2] + (parts[1] + parts[0]))
    assert forward.r == pytest.approx(backward.r, abs=1e-14)
    assert forward.r == pytest.approx(stats.pearsonr(one[:3].ravel(), other[:3].ravel()).statistic, abs=1e-13)


@pytest.mark.parametrize("correlate", [pearson, spearman])
def test_constant_short_and_endless_maps_have_no_correlation(correlate: object) -> None:
    assert callable(correlate)
    constant = np.full(1000, 0.1)  # its mean is not exactly 0.1
    varied = np.arange(1000.0)
    for one, other in [(constant, varied), (varied, constant), (constant, constant), ([], []), ([1.0], [2.0])]:
        assert math.isnan(correlate(one, other))
    assert math.isnan(correlate([1.0, math.nan, 2.0], [1.0, 2.0, 3.0]))
    assert math.isnan(pearson([1.0, math.inf, 2.0], [1.0, 2.0, 3.0]))


def test_constant_batches_of_different_levels_do_correlate() -> None:
    merged = PearsonSums.of([1, 1], [5, 5]) + PearsonSums.of([2, 2], [7, 7])
    assert merged.r == pytest.approx(1.0, abs=1e-15)
    assert math.isnan((PearsonSums.of(np.full(7, 0.1), np.arange(7)) + PearsonSums.of(np.full(5, 0.1), [1] * 5)).r)


def test_float32_maps_are_summed_in_float64() -> None:
    one, other = (values.astype(np.float32) + np.float32(4096) for values in maps(4, 0.5))
    wide = stats.pearsonr(one.astype(np.float64).ravel(), other.astype(np.float64).ravel()).statistic
    assert pearson(one, other) == pytest.approx(wide, abs=1e-11)


def test_r_never_leaves_its_range() -> None:
    one = np.array([0.1, 0.2, 0.7])
    assert abs(pearson(one, one * 3)) <= 1
    assert pearson(one, -one) >= -1


@pytest.mark.parametrize("correlate", [pearson, spearman])
def test_shapes_must_match(correlate: object) -> None:
    assert callable(correlate)
    with pytest.raises(StoredDataError, match=r"\(2, 3\) and \(3, 2\)"):
        correlate(np.ones((2, 3)), np.ones((3, 2)))


def test_nan_correlations_are_counted() -> None:
    summary = summarise([1.0, math.nan, 0.4, math.nan, 0.1])
    assert (summary.count, summary.nan_count) == (5, 2)
    assert summary.mean == pytest.approx(0.5)
    assert summary.sd == pytest.approx(math.sqrt((0.25 + 0.01 + 0.16) / 2))
    assert summary.median == 0.4
    assert summary.zero_filled_mean == pytest.approx(0.3)


def test_summaries_without_values_are_nan() -> None:
    only = summarise([math.nan])
    assert (only.count, only.nan_count, only.zero_filled_mean) == (1, 1, 0.0)
    assert math.isnan(only.mean)
    assert math.isnan(only.sd)
    assert math.isnan(summarise([]).zero_filled_mean)
