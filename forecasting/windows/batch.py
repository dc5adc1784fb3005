"""A batch: windows of many series side by side, arrays by name; which entries run along time.

The same for NumPy and for torch; imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, Required, TypedDict, TypeVar, cast

A = TypeVar("A")
B = TypeVar("B")


class Batch(TypedDict, Generic[A], total=False):
    """N windows of R rows each and the H rows ahead, in arrays ``A`` of NumPy or torch.

    Entries that a model has no use for are left out. Float32 where nothing else is said.
    """

    # What a network reads. In training y and mask go on over the horizon, as [N, R + H], and
    # `history` cuts them off.
    y: Required[A]  # [N, R] transformed and conditioned values, 0 where missing
    mask: Required[A]  # [N, R] 1 where y is observed
    time: A  # [N, R + H, C] calendar features
    phase: A  # [N] int64, place of row 0 in the learned cycle
    past: A  # [N, R, P] covariates known up to the origin, 0 where missing
    past_mask: A  # [N, R, P] 1 where they are known
    future: A  # [N, R + H, F] covariates known ahead, 0 where missing
    future_mask: A  # [N, R + H, F] 1 where they are known
    static: A  # [N, S] one value per series, 0 where missing
    static_mask: A  # [N, S] 1 where they are known
    # What undoes the conditioning: y = (transform(original) - centre) / unit.
    centre: A  # [N]
    unit: A  # [N]
    # What training asks beside that.
    valid: A  # [N, steps] 1 where a recurrent step may be an origin of the loss
    filled: A  # [N] int64 recurrent steps that prediction reads; where only the last origin counts
    loss_unit: A  # [N] typical seasonal difference, in conditioned units
    mase_unit: A  # [N] the same in original units
    series: A  # [N] int64, position of the series in its panel
    origin: A  # [N] int64, row of the series that its last origin stands at


Span = Literal["rows", "rows_and_horizon"]

# How far the entries that run along time (their second axis) reach; the others do not.
TIME: Mapping[str, Span] = {
    "y": "rows",
    "mask": "rows",
    "past": "rows",
    "past_mask": "rows",
    "time": "rows_and_horizon",
    "future": "rows_and_horizon",
    "future_mask": "rows_and_horizon",
}


def named(batch: Batch[A]) -> dict[str, A]:
    """The batch as a dictionary by any name; the same object."""
    return cast("dict[str, A]", batch)


def batch_of(entries: dict[str, A]) -> Batch[A]:
    """A dictionary with a batch's names as a batch; the same object."""
    return cast("Batch[A]", entries)


def each(batch: Batch[A], change: Callable[[A], B]) -> Batch[B]:
    """A batch of what ``change`` makes of every entry."""
    return batch_of({name: change(value) for name, value in named(batch).items()})


def history(batch: Batch[A], rows: int) -> Batch[A]:
    """A training batch as a network may see it: y and mask end with their ``rows`` of history."""
    y, mask = cast("Any", batch["y"]), cast("Any", batch["mask"])
    return batch_of({**named(batch), "y": y[:, :rows], "mask": mask[:, :rows]})


def cut(batch: Batch[A], begin: int, end: int, ahead: int | None = None) -> Batch[A]:
    """The windows' rows from ``begin`` up to ``end``, as if they had been cut there.

    Parameters
    ----------
    batch : whose y ends with the history.
    ahead : rows shown after ``end`` of what is known ahead; None: as many as the batch has.
    """
    rows = cast("Any", batch["y"]).shape[1]
    out: dict[str, Any] = {}
    for name, value in named(cast("Batch[Any]", batch)).items():
        if name == "phase":
            out[name] = value + begin
        elif name not in TIME:
            out[name] = value
        elif TIME[name] == "rows":
            out[name] = value[:, begin:end]
        else:
            more = value.shape[1] - rows if ahead is None else ahead
            out[name] = value[:, begin : end + more]
    return batch_of(out)
