"""Lists from JSON as arrays: one pass decides, a second one only finds the place of a fault."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from types import NoneType
from typing import Any, Final

import numpy as np

from forecasting.arrays import Array
from forecasting.data.encoding import category
from serving.errors import Faults, show

NUMBERS: frozenset[type] = frozenset({int, float, NoneType})
CATEGORIES: frozenset[type] = frozenset({str, int, float, bool, NoneType})
PACKED: Final = 1024  # numbers that are packed, or looked at, together

Place = Callable[[int], tuple[str | int, ...]]


def numbers(
    lists: Sequence[list[Any]],
    path: Place,
    faults: Faults,
    *,
    single: bool = False,
    no_booleans: bool = False,
) -> Array:
    """Numbers and nulls of all lists, one after the other, as float64 with NaN for null.

    Parameters
    ----------
    path : where list i stands in the request. single : each list stands for a single value.
    no_booleans : the whole request has none; Python would take them for numbers.
    """
    if no_booleans and (packed := _packed(lists)) is not None:
        return packed
    flat = lists[0] if len(lists) == 1 else list(chain.from_iterable(lists))
    if NUMBERS.issuperset(map(type, flat)):
        return np.array(flat, dtype=np.float64)
    _locate(lists, NUMBERS, "a number or null", path, faults, single)
    return np.full(len(flat), np.nan)


def _packed(lists: Sequence[list[Any]]) -> Array | None:
    """As `numbers`, of lists that hold no booleans; None where something is no number."""
    out = np.empty(sum(map(len, lists)))
    memory, end = out.data, 0
    for values in lists:
        for first in range(0, len(values), PACKED):
            part = values[first : first + PACKED]
            begin, end = end, end + len(part)
            try:
                struct.pack_into(f"{end - begin}d", memory, 8 * begin, *part)
            except struct.error:
                # A null, or something that is no number.
                if not NUMBERS.issuperset(map(type, part)):
                    return None
                out[begin:end] = np.array(part, np.float64)
    return out


def categories(
    lists: Sequence[list[Any]], path: Place, faults: Faults, *, single: bool = False
) -> list[Any]:
    """Categories and nulls of all lists, one after the other, as text or None."""
    flat = list(chain.from_iterable(lists))
    kinds = set(map(type, flat))
    if kinds <= CATEGORIES:
        return (
            flat if kinds <= {str, NoneType} else [None if v is None else category(v) for v in flat]
        )
    _locate(lists, CATEGORIES, "a category or null", path, faults, single)
    return [None] * len(flat)


def is_list(value: Any, path: tuple[str | int, ...], faults: Faults) -> bool:
    """Whether a value is an array; if not, the fault is noted."""
    if type(value) is list:
        return True
    if value is None:
        faults.add(path, "missing", "is needed: an array")
    else:
        faults.add(path, "wrong_type", f"must be an array, not {show(value)}")
    return False


def _locate(
    lists: Sequence[list[Any]],
    allowed: frozenset[type],
    what: str,
    path: Place,
    faults: Faults,
    single: bool,
) -> None:
    for i, values in enumerate(lists):
        if allowed.issuperset(map(type, values)):
            continue
        for j, value in enumerate(values):
            if type(value) not in allowed:
                if faults.full:
                    faults.omitted += 1
                else:
                    at = path(i) if single else (*path(i), j)
                    faults.add(at, "wrong_type", f"must be {what}, not {show(value)}")
