"""Checks of the data: does the table still tell the story that the champion was trained on?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from pipelines.data.newest import Change
from pipelines.data.revision import Found
from pipelines.training.case import Answer, Case, limited

# Shares of a `Revision`, and what they are called.
_SHARES = {
    "lost": "series lost",
    "new": "series new",
    "revised": "values revised",
    "shifted": "series moved against their stamps",
    "jumped": "series whose clock jumped",
    "stale": "series fallen behind",
}


def _shift(case: Case) -> Answer | None:
    return limited("shift of the data", case.drift, case.config.max_shift, "|ln|")


def _comparable(case: Case) -> Answer | None:
    before = case.before
    if before.problem is None:
        return None
    return Answer("what came before", f"not comparable: {before.problem}", "comparable", False)


def _share(key: str, case: Case) -> Answer | None:
    """A share of series or values, by its name in `Revision` and ``gate.max_<name>``."""
    if case.before.revision is None:
        return None
    amount: Found = getattr(case.before.revision, key)
    limit: float = getattr(case.config, f"max_{key}")
    value = f"{100 * amount.share:.1f} % ({amount.count:,} of {amount.of:,}"
    value += f", such as {amount.example!r})" if amount.example else ")"
    return Answer(_SHARES[key], value, f"{100 * limit:g} %", bool(amount.share <= limit))


def _change(key: str, case: Case) -> tuple[float, float] | None:
    """A change of the newest rows, likewise, and the most that it may be; None: unknown."""
    if case.before.revision is None:
        return None
    change: Change = getattr(case.before.revision, key)
    limit: float = getattr(case.config, f"max_{key}")
    return (change.value, max(limit, change.usual)) if np.isfinite(change.value) else None


def _ahead(case: Case) -> Answer | None:
    revision = case.before.revision
    if revision is None:
        return None
    limit = case.config.max_ahead
    limit = revision.horizon if limit is None else limit
    value = f"{revision.ahead:,} steps" + (f" ({revision.ahead_id!r})" if revision.ahead else "")
    return Answer("farthest row ahead", value, f"{limit:,} steps", revision.ahead <= limit)


def _newest(case: Case) -> Answer | None:
    if (change := _change("newest", case)) is None:
        return None
    value, limit = change
    return Answer(
        "level of the newest rows",
        f"{np.exp(value):.3g} times the usual",
        f"{np.exp(-limit):.3g} to {np.exp(limit):.3g}",
        bool(abs(value) <= limit),
    )


def _unlike(case: Case) -> Answer | None:
    if (change := _change("unlike", case)) is None:
        return None
    value, limit = change
    name = "series unlike themselves"
    return Answer(name, f"{value:+.3g} |ln|", f"{limit:.3g} |ln|", bool(value <= limit))


def _fallen(case: Case) -> Answer | None:
    if (change := _change("fallen", case)) is None:
        return None
    value, limit = change
    name = "series at 0 or of another sign"
    return Answer(name, f"{100 * value:.1f} %", f"{100 * limit:.3g} %", bool(value <= limit))


# As `model_checks.OF_THE_MODEL`; but these look at the data, which a person may know to be right.
OF_THE_DATA: dict[str, Callable[[Case], Answer | None]] = {
    "shift": _shift,
    "before": _comparable,
    **{key: partial(_share, key) for key in _SHARES},
    "ahead": _ahead,
    "newest": _newest,
    "unlike": _unlike,
    "fallen": _fallen,
}
