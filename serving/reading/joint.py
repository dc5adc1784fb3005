"""What a caller may ask of series taken together: sample paths, totals, a hierarchy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from forecasting.copula.dependence import FURTHEST_STEP
from forecasting.paths.hierarchy import Levels
from forecasting.paths.sampling import LEAST_PATHS, MOST_PATHS, PATHS, Draws
from forecasting.paths.totals import Total, TotalError
from serving.errors import Faults, RequestError, show
from serving.reading.query import Options, Spec
from serving.reading.together import JOINT_KEYS, Joint

MOST_TOTALS: Final = 20
MOST_LABELS: Final = 20
MAX_LABEL: Final = 1024


def read_joint(
    body: Mapping[str, Any], spec: Spec, options: Options, count: int, faults: Faults
) -> Joint | None:
    """What is asked of ``count`` series together; None where nothing is.

    What is wrong goes to ``faults``.

    Raises
    ------
    RequestError : 413 for more than one request should cost.
    """
    if not JOINT_KEYS & body.keys():
        return None
    before = faults.count
    paths = read_whole(body, "paths", (LEAST_PATHS, MOST_PATHS), faults)
    seed = read_whole(body, "seed", (0, 2**63 - 1), faults)
    labels = _labels(body.get("labels"), count, spec, faults)
    own = [c.name for c in spec.schema.static if c.type == "categorical"]
    columns = (*own, *labels)
    totals = _totals(body.get("aggregate"), options.horizon, columns, faults)
    levels = None
    if body.get("hierarchy") is not None:
        try:
            levels = Levels.of(body["hierarchy"], columns)
        except TotalError as error:
            faults.add(("hierarchy", *error.path), error.code, error.text)
    if paths is None and not totals and levels is None and faults.count == before:
        keys = ", ".join(sorted(JOINT_KEYS & body.keys()))
        detail = f"{keys}: without paths, aggregate or hierarchy there is nothing to do with it"
        faults.add((sorted(JOINT_KEYS & body.keys())[0],), "missing", detail)
    if options.horizon > FURTHEST_STEP:
        detail = f"{options.horizon} is beyond {FURTHEST_STEP}, as far as paths reach"
        faults.add(("horizon",), "horizon_too_long", detail)
    joint = Joint(
        draws=Draws(PATHS if paths is None else paths, seed or 0),
        shown=paths is not None,
        totals=tuple(totals),
        levels=levels,
        labels=labels,
    )
    _check_cost(joint, count, spec, options)
    return joint


def _check_cost(joint: Joint, count: int, spec: Spec, options: Options) -> None:
    """Refuse what would cost more than one request should, before anything is drawn."""
    limits, each = spec.limits, options.horizon * joint.draws.paths
    members = sum(len(m) for t in joint.totals for m in (t.groups or {}).values())
    numbers = (count * joint.passes + members) * each
    if numbers > limits.draws:
        raise RequestError(
            413,
            "too_much_work",
            f"{count} series over {options.horizon} steps in {joint.draws.paths} paths, gone "
            f"through {joint.passes} times, are {numbers} numbers; at most {limits.draws} "
            "(GATECAST_MAX_DRAWS): ask for fewer paths, steps or series at a time",
            extra={"limit": limits.draws},
        )
    size = count * options.horizon * (len(options.levels) + 1) * joint.passes
    size += count * each if joint.shown else 0
    if size > limits.output:
        raise RequestError(
            413,
            "answer_too_large",
            f"the answer could hold {size} numbers; at most {limits.output}: "
            "ask for fewer series, steps, quantiles or paths at a time",
            extra={"limit": limits.output},
        )


def read_whole(
    body: Mapping[str, Any], key: str, limits: tuple[int, int], faults: Faults
) -> int | None:
    """A whole number within limits, or None where there is none; what is wrong is a fault."""
    value = body.get(key)
    if value is None:
        return None
    if type(value) is not int:
        faults.add((key,), "wrong_type", f"must be a whole number, not {show(value)}")
    elif not limits[0] <= value <= limits[1]:
        faults.add((key,), "out_of_range", f"must lie from {limits[0]} to {limits[1]}, not {value}")
    else:
        return value
    return None


def _labels(given: Any, count: int, spec: Spec, faults: Faults) -> dict[str, Sequence[str | None]]:
    if given is None:
        return {}
    if type(given) is not dict or len(given) > MOST_LABELS:
        detail = f"must be an object of at most {MOST_LABELS} columns, a category for each series"
        faults.add(("labels",), "wrong_type", detail)
        return {}
    columns: dict[str, Sequence[str | None]] = {}
    static = {c.name for c in spec.schema.static}
    for name, values in given.items():
        where = ("labels", name[:MAX_LABEL])
        if name in static:
            faults.add(where, "duplicate", "the model has a static covariate of that name")
        elif type(values) is not list:
            faults.add(where, "wrong_type", f"must be a list of categories, not {show(values)}")
        elif len(values) != count:
            detail = f"holds {len(values)} categories for {count} series"
            faults.add(where, "length_mismatch", detail)
        else:
            wrong = next((k for k, v in enumerate(values) if not _is_label(v)), None)
            if wrong is not None:
                detail = f"must be text of 1 to {MAX_LABEL} characters, not {show(values[wrong])}"
                faults.add((*where, wrong), "wrong_type", detail)
            # Also a wrong column is one: totals that name it are not wrong for it.
            columns[name] = values
    return columns


def _is_label(value: Any) -> bool:
    return value is None or (type(value) is str and 0 < len(value) <= MAX_LABEL)


def _totals(given: Any, horizon: int, columns: Sequence[str], faults: Faults) -> list[Total]:
    if given is None:
        return []
    if type(given) is not list or not 1 <= len(given) <= MOST_TOTALS:
        detail = f"must be a list of 1 to {MOST_TOTALS} totals such as {{steps: 7}}"
        faults.add(("aggregate",), "wrong_type", detail)
        return []
    totals = []
    for k, each in enumerate(given):
        try:
            totals.append(Total.of(each, horizon, columns))
        except TotalError as error:
            faults.add(("aggregate", k, *error.path), error.code, error.text)
    return totals
