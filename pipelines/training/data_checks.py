"""Checks of the data: does the table still tell the story that the champion was trained on?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.data.revision import UNKNOWN, Found, Revision
from pipelines.training.case import Answer, Case, limited


def _shift(case: Case) -> Answer | None:
    return limited("shift of the data", case.drift, case.config.max_shift, "|ln|")


def _comparable(case: Case) -> Answer | None:
    before = case.before
    if before.problem is None:
        return None
    return Answer("what came before", f"not comparable: {before.problem}", "comparable", False)


def _lost(case: Case) -> Answer | None:
    return _share(case, "series lost", lambda r: r.lost, case.config.max_lost)


def _new(case: Case) -> Answer | None:
    return _share(case, "series new", lambda r: r.new, case.config.max_new)


def _revised(case: Case) -> Answer | None:
    return _share(case, "values revised", lambda r: r.revised, case.config.max_revised)


def _shifted(case: Case) -> Answer | None:
    name = "series moved against their stamps"
    return _share(case, name, lambda r: r.shifted, case.config.max_shifted)


def _jumped(case: Case) -> Answer | None:
    return _share(case, "series whose clock jumped", lambda r: r.jumped, case.config.max_jumped)


def _stale(case: Case) -> Answer | None:
    return _share(case, "series fallen behind", lambda r: r.stale, case.config.max_stale)


def _share(case: Case, name: str, part: Callable[[Revision], Found], limit: float) -> Answer | None:
    if case.before.revision is None:
        return None
    found = part(case.before.revision)
    value = f"{100 * found.share:.1f} % ({found.count:,} of {found.of:,}"
    value += f", such as {found.example!r})" if found.example else ")"
    return Answer(name, value, f"{100 * limit:g} %", bool(found.share <= limit))


def _ahead(case: Case) -> Answer | None:
    revision = case.before.revision
    if revision is None:
        return None
    limit = case.config.max_ahead
    limit = revision.horizon if limit is None else limit
    value = f"{revision.ahead:,} steps" + (f" ({revision.ahead_id!r})" if revision.ahead else "")
    return Answer("farthest row ahead", value, f"{limit:,} steps", revision.ahead <= limit)


def _newest(case: Case) -> Answer | None:
    change = case.before.revision.newest if case.before.revision is not None else UNKNOWN
    if not np.isfinite(change.value):
        return None
    limit = max(case.config.max_newest, change.usual)
    value, allowed = f"{np.exp(change.value):.3g} times", f"{np.exp(-limit):.3g} to"
    return Answer(
        "level of the newest rows",
        f"{value} the usual",
        f"{allowed} {np.exp(limit):.3g}",
        bool(abs(change.value) <= limit),
    )


def _unlike(case: Case) -> Answer | None:
    change = case.before.revision.unlike if case.before.revision is not None else UNKNOWN
    if not np.isfinite(change.value):
        return None
    limit = max(case.config.max_unlike, change.usual)
    name, value = "series unlike themselves", f"{change.value:+.3g} |ln|"
    return Answer(name, value, f"{limit:.3g} |ln|", bool(change.value <= limit))


def _fallen(case: Case) -> Answer | None:
    change = case.before.revision.fallen if case.before.revision is not None else UNKNOWN
    if not np.isfinite(change.value):
        return None
    limit = max(case.config.max_fallen, change.usual)
    name, value = "series at 0 or of another sign", f"{100 * change.value:.1f} %"
    return Answer(name, value, f"{100 * limit:.3g} %", bool(change.value <= limit))


# As `model_checks.OF_THE_MODEL`; but these look at the data, which a person may know to be right.
OF_THE_DATA: dict[str, Callable[[Case], Answer | None]] = {
    "shift": _shift,
    "before": _comparable,
    "lost": _lost,
    "new": _new,
    "revised": _revised,
    "shifted": _shifted,
    "jumped": _jumped,
    "stale": _stale,
    "ahead": _ahead,
    "newest": _newest,
    "unlike": _unlike,
    "fallen": _fallen,
}
