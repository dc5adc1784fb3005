"""Simple exponential smoothing of many windows without holes, by all constants at once.

One-step errors are linear in the values and in the level they start from. Windows are therefore
taken in blocks of rows: what a block does to the level is one product, its squared errors are a
quadratic form of its values and of the level before it, and the recursion goes from block to block
instead of from row to row.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from forecasting.arrays import Array

# Rows of a block: products of two values of one are as many as a third of its errors for 13
# constants.
BLOCK = 8
# Windows up to which the number of calls decides the time, and those that stay in cache together.
FEW, AT_ONCE = 16, 128


class _Forms(NamedTuple):
    """What a block does, for A constants.

    Attributes
    ----------
    pairs : [A, 36] of products of two values of the block, their part of the squared errors.
    values : [2A, 8] of the values, what the level's part is multiplied by (first A rows), and what
        is added to the level (last A rows).
    level : [A, 1] of the level's square. keep : [A, 1] how much of the level is left.
    """

    pairs: Array
    values: Array
    level: Array
    keep: Array


@lru_cache(maxsize=4)
def _forms(alphas: tuple[float, ...]) -> _Forms:
    """The forms of blocks, whose errors are ``own`` @ values - ``fading`` * level."""
    keeping = 1.0 - np.array(alphas)
    fading = keeping[:, None] ** np.arange(BLOCK)
    rows = np.arange(BLOCK)
    back = rows[:, None] - rows
    own = np.eye(BLOCK) - np.where(
        back > 0,
        (1.0 - keeping)[:, None, None] * keeping[:, None, None] ** np.maximum(back - 1, 0),
        0.0,
    )
    squares = own.transpose(0, 2, 1) @ own
    first, second = np.triu_indices(BLOCK)
    pairs = squares[:, first, second] * np.where(first == second, 1.0, 2.0)
    cross = -2.0 * (fading[:, None] @ own)[:, 0]
    gains = (1.0 - keeping)[:, None] * fading[:, ::-1]
    return _Forms(
        np.ascontiguousarray(pairs),
        np.concatenate([cross, gains]),
        (fading**2).sum(axis=1, keepdims=True),
        keeping[:, None] ** BLOCK,
    )


@lru_cache(maxsize=64)
def _carried(alphas: tuple[float, ...], blocks: int) -> Array:
    """[A, B + 1, B] what is left of each block's gain before each block, and at the end."""
    gone = np.arange(blocks + 1)[:, None] - 1 - np.arange(blocks)
    keep = _forms(alphas).keep[..., None]
    return np.where(gone >= 0, keep ** np.maximum(gone, 0), 0.0)


def smoothed(values: Array, alphas: tuple[float, ...]) -> tuple[Array, Array]:
    """Smooth [N, R] values from level 0.

    Returns
    -------
    levels after the last row, and sums of squared one-step errors: [A, N] each.
    """
    count = len(values)
    if count <= AT_ONCE:
        return _smoothed(values, alphas)
    parts = [_smoothed(values[k : k + AT_ONCE], alphas) for k in range(0, count, AT_ONCE)]
    levels, errors = zip(*parts, strict=True)
    return np.concatenate(levels, axis=1), np.concatenate(errors, axis=1)


def _smoothed(values: Array, alphas: tuple[float, ...]) -> tuple[Array, Array]:
    count, rows = values.shape
    forms, many = _forms(alphas), len(alphas)
    blocks = -(-rows // BLOCK)
    # Zeros before the first value leave level and errors at 0.
    padded = np.zeros((count, blocks * BLOCK))
    padded[:, blocks * BLOCK - rows :] = values
    by_row = np.ascontiguousarray(padded.reshape(count, blocks, BLOCK).transpose(2, 1, 0))
    pairs = np.empty((BLOCK * (BLOCK + 1) // 2, blocks, count))
    place = 0
    for k in range(BLOCK):
        np.multiply(by_row[k:], by_row[k], out=pairs[place : place + BLOCK - k])
        place += BLOCK - k
    linear = forms.values @ by_row.reshape(BLOCK, -1)
    errors = forms.pairs @ pairs.reshape(len(pairs), -1)
    errors = errors.reshape(many, blocks, count)
    cross, gains = linear.reshape(2, many, blocks, count)
    if count <= FEW:
        level = _carried(alphas, blocks) @ gains
        before = level[:, :-1]
        errors += (cross + forms.level[..., None] * before) * before
        return level[:, -1], errors.sum(axis=1)
    level = gains[:, 0]
    for k in range(1, blocks):
        part = cross[:, k]
        part += forms.level * level
        part *= level
        errors[:, k] += part
        level = forms.keep * level
        level += gains[:, k]
    return level, errors.sum(axis=1)
