"""Reconciled parts beside the textbook's dense projection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy import sparse

from forecasting.paths.reconcile import HOWS, Errors, How, reconciled


def summing(rng: np.random.Generator, parts: int, sums: int) -> np.ndarray:
    """[U, N] sums of some parts each, the first of all."""
    matrix = (rng.random((sums, parts)) < 0.5).astype(float)
    matrix[0] = 1.0
    matrix[matrix.sum(axis=1) == 0, 0] = 1.0
    return matrix


def plainly(sums: np.ndarray, base: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """[N, h] ``(S' W^-1 S)^-1 S' W^-1 y`` over all rows, sums first."""
    whole = np.vstack([sums, np.eye(sums.shape[1])])
    weight = np.linalg.inv(covariance)
    return np.linalg.solve(whole.T @ weight @ whole, whole.T @ weight @ base)


def covariance(how: How, sums: np.ndarray, errors: Errors) -> np.ndarray:
    if how == "ols":
        return np.eye(sum(sums.shape))
    if how == "wls_struct":
        return np.diag(np.concatenate([sums.sum(axis=1), np.ones(sums.shape[1])]))
    if how == "wls":
        return np.diag(errors.variance)
    sample = errors.sample
    assert sample is not None
    size = sample.shape[1]
    unit = sample / np.sqrt((sample**2).mean(axis=1, keepdims=True))
    products = unit[:, None] * unit[None]
    mean = products.mean(axis=2)
    doubt = size / (size - 1) ** 3 * ((products - mean[..., None]) ** 2).sum(axis=2)
    off = ~np.eye(len(sample), dtype=bool)
    share = np.clip(doubt[off].sum() / (mean[off] ** 2).sum(), 0.01, 1.0)
    full = sample @ sample.T / size
    return share * np.diag(np.diag(full)) + (1.0 - share) * full


@examples(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    parts=st.integers(2, 7),
    count=st.integers(1, 4),
    how=st.sampled_from(HOWS[1:]),
)
def test_the_sparse_way_is_the_textbooks(seed: int, parts: int, count: int, how: How) -> None:
    rng = np.random.default_rng(seed)
    sums = summing(rng, parts, count)
    base = rng.normal(size=(count + parts, 3))
    sample = rng.normal(size=(count + parts, 9)) + rng.normal(size=9)
    errors = Errors(rng.uniform(0.2, 3.0, count + parts), sample)
    found = reconciled(sparse.csr_array(sums), base[:count], base[count:], errors, how)
    wanted = plainly(sums, base, covariance(how, sums, errors))
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9)


@examples(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), how=st.sampled_from(HOWS))
def test_from_zero_up_nothing_is_below_zero_and_what_agrees_stays(seed: int, how: How) -> None:
    rng = np.random.default_rng(seed)
    sums = summing(rng, 6, 3)
    errors = Errors(rng.uniform(0.2, 3.0, 9), rng.normal(size=(9, 8)))
    matrix = sparse.csr_array(sums)
    leaves = rng.normal(0.5, 1.0, (6, 4))
    upper = sums @ np.maximum(leaves, 0.0) + rng.normal(size=(3, 4))
    found = reconciled(matrix, upper, leaves, errors, how, nonnegative=True)
    assert (found >= 0.0).all()
    positive = np.abs(leaves)
    same = reconciled(matrix, sums @ positive, positive, errors, how, nonnegative=True)
    np.testing.assert_allclose(same, positive, atol=1e-9)


def test_more_trust_in_sums_moves_the_parts_to_them() -> None:
    sums = sparse.csr_array(np.ones((1, 2)))
    upper, leaves = np.array([[10.0]]), np.array([[2.0], [4.0]])
    sure = Errors(np.array([1e-6, 1.0, 3.0]))
    found = reconciled(sums, upper, leaves, sure, "wls")
    np.testing.assert_allclose(found, [[3.0], [7.0]], atol=1e-4)
    np.testing.assert_array_equal(reconciled(sums, upper, leaves, sure, "bottom_up"), leaves)


def test_mint_without_errors_is_a_mistake() -> None:
    sums = sparse.csr_array(np.ones((1, 2)))
    with pytest.raises(AssertionError, match="errors"):
        reconciled(sums, np.ones((1, 1)), np.ones((2, 1)), Errors(np.ones(3)), "mint_shrink")


@pytest.mark.parametrize("how", HOWS)
def test_thousands_of_parts_need_no_matrix_of_parts_by_parts(how: How) -> None:
    rng = np.random.default_rng(0)
    parts, group = 10_000, np.arange(10_000) // 10
    rows = np.concatenate([np.zeros(parts, int), 1 + group])
    columns = np.tile(np.arange(parts), 2)
    sums = sparse.csr_array((np.ones(2 * parts), (rows, columns)), (1_001, parts))
    leaves = rng.normal(size=(parts, 12))
    upper = sums @ leaves + rng.normal(size=(1_001, 12))
    errors = Errors(rng.uniform(0.5, 2.0, 11_001), rng.normal(size=(11_001, 24)))
    found = reconciled(sums, upper, leaves, errors, how)
    assert found.shape == leaves.shape
    assert np.isfinite(found).all()


@examples(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), how=st.sampled_from(["ols", "wls"]))
def test_parts_above_zero_are_the_nearest_beside_those_held_there(seed: int, how: How) -> None:
    rng = np.random.default_rng(seed)
    sums = summing(rng, 6, 3)
    errors = Errors(rng.uniform(0.2, 3.0, 9))
    leaves, upper = rng.normal(0.0, 1.0, (6, 1)), rng.normal(size=(3, 1))
    found = reconciled(sparse.csr_array(sums), upper, leaves, errors, how, nonnegative=True)
    free = np.flatnonzero(found[:, 0] > 0.0)
    known = Errors(np.concatenate([errors.variance[:3], errors.variance[3 + free]]))
    base = np.concatenate([upper, leaves[free]])
    wanted = plainly(sums[:, free], base, covariance(how, sums[:, free], known))
    np.testing.assert_allclose(found[free], wanted, rtol=1e-7, atol=1e-9)
