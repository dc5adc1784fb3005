"""What is asked of scenarios: what is known ahead in each, and which is the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from forecasting.arrays import Array
from forecasting.data.encoding import encode
from forecasting.data.panel import Panel
from forecasting.paths.sampling import LEAST_PATHS, MOST_PATHS, PATHS, Draws
from forecasting.paths.scenarios import BASE, MOST_SCENARIOS, ahead_of
from forecasting.prediction.checks import beyond_training
from forecasting.schema import Covariate
from serving.errors import Faults, RequestError, show
from serving.reading.columns import categories, numbers
from serving.reading.joint import read_whole
from serving.reading.query import (
    MAX_NAME,
    Options,
    Query,
    Question,
    Spec,
    read_horizon,
    read_levels,
    read_zone,
    refuse_unknown,
    refuse_windows,
)

Path = tuple[str | int, ...]
Columns = Mapping[str, list[Any]]
PLAN_KEYS: Final = frozenset({"name", "future", "series"})
MAX_ID: Final = 1024


@dataclass(frozen=True)
class Plan:
    """A scenario: by column the values [h] or [1] of all series, and by series those of its own."""

    name: str
    of_all: Columns = field(default_factory=dict)
    of_series: Mapping[str, Columns] = field(default_factory=dict)

    def columns(self) -> Iterator[tuple[str, list[Any]]]:
        """Every column of values that it holds."""
        yield from self.of_all.items()
        for own in self.of_series.values():
            yield from own.items()


@dataclass(frozen=True)
class ScenarioOptions(Options):
    """Of all series alike; ``base`` : None for what the request itself says of the steps ahead."""

    plans: tuple[Plan, ...] = ()
    base: str | None = None
    draws: Draws = field(default_factory=Draws)

    @property
    def runs(self) -> int:
        """Forecasts of each series."""
        return len(self.plans) + (self.base is None)


def read_scenario_options(body: Mapping[str, Any], spec: Spec, faults: Faults) -> ScenarioOptions:
    """Scenarios and the rest; what is wrong goes to ``faults``."""
    horizon = read_horizon(body, spec, None, faults)
    base = body.get("base")
    if base is not None and (type(base) is not str or not base):
        faults.add(("base",), "wrong_type", f"must be a scenario's name, not {show(base)}")
        base = None
    plans = _plans(body.get("scenarios"), base, horizon, spec, faults)
    if base is not None and base not in [plan.name for plan in plans] and not faults:
        faults.add(("base",), "unknown_scenario", f"{show(base)} is none of the scenarios")
    paths = read_whole(body, "paths", (LEAST_PATHS, MOST_PATHS), faults)
    seed = read_whole(body, "seed", (0, 2**63 - 1), faults)
    return ScenarioOptions(
        horizon=horizon,
        levels=read_levels(body, faults),
        tz=read_zone(body, faults),
        plans=tuple(plans),
        base=base,
        draws=Draws(PATHS if paths is None else paths, seed or 0),
    )


SCENARIOS: Final = Question(
    frozenset({"model", "horizon", "quantiles", "tz", "scenarios", "base", "paths", "seed"}),
    read_scenario_options,
)


def _plans(given: Any, base: str | None, horizon: int, spec: Spec, faults: Faults) -> list[Plan]:
    if given is None or given == []:
        code = "missing" if given is None else "empty"
        detail = "is needed: a list such as [{name: sale, future: {promo: 1}}]"
        faults.add(("scenarios",), code, detail)
        return []
    if type(given) is not list:
        faults.add(("scenarios",), "wrong_type", f"must be an array, not {show(given)}")
        return []
    if len(given) > MOST_SCENARIOS:
        detail = f"holds {len(given)} scenarios; at most {MOST_SCENARIOS}"
        faults.add(("scenarios",), "out_of_range", detail)
        return []
    names = {} if base is not None else {BASE: "what the request itself says of the steps ahead"}
    plans = []
    for k, one in enumerate(given):
        where = ("scenarios", k)
        if type(one) is not dict:
            detail = f"must be an object with name and future, not {show(one)}"
            faults.add(where, "wrong_type", detail)
            continue
        refuse_unknown(one, PLAN_KEYS, where, faults)
        name = one.get("name")
        if type(name) is not str or not 0 < len(name) <= MAX_NAME:
            code = "missing" if name is None else "wrong_type"
            detail = f"must be text of 1 to {MAX_NAME} characters, not {show(name)}"
            faults.add((*where, "name"), code, detail)
        elif name in names:
            faults.add((*where, "name"), "duplicate", f"{show(name)} is {names[name]}")
        else:
            names[name] = f"the name of scenarios[{k}], too"
        plans.append(_plan(str(name), one, where, horizon, spec, faults))
    return plans


def _plan(
    name: str, one: Mapping[str, Any], where: Path, horizon: int, spec: Spec, faults: Faults
) -> Plan:
    own = one.get("series")
    if own is not None and type(own) is not dict:
        detail = f"must be an object of series, each with its columns, not {show(own)}"
        faults.add((*where, "series"), "wrong_type", detail)
        own = None
    if not one.get("series") and not one.get("future"):
        detail = "says nothing of the steps ahead: name a covariate in future, or in series"
        faults.add((*where, "future"), "empty", detail)
    return Plan(
        name,
        _columns(one.get("future"), (*where, "future"), horizon, spec, faults),
        {
            series: _columns(columns, (*where, "series", series[:MAX_ID]), horizon, spec, faults)
            for series, columns in (own or {}).items()
        },
    )


def _columns(given: Any, where: Path, horizon: int, spec: Spec, faults: Faults) -> Columns:
    if given is None:
        return {}
    if type(given) is not dict:
        faults.add(where, "wrong_type", f"must be an object of columns, not {show(given)}")
        return {}
    future = {c.name: c for c in spec.schema.future}
    role = {c.name: c.role for c in spec.schema.covariates}
    columns = {}
    for name, values in given.items():
        at = (*where, name)
        if name in future:
            columns[name] = _values(values, future[name], at, horizon, faults)
        elif name in role:
            detail = f"is a {role[name]} covariate: nothing is known of it ahead"
            faults.add(at, "not_known_ahead", detail)
        else:
            names = ", ".join(future) or "none"
            detail = f"no future covariate of this model; it has: {names}"
            faults.add((*where, name[:MAX_NAME]), "unknown_covariate", detail)
    return columns


def _values(
    told: Any, covariate: Covariate, where: Path, horizon: int, faults: Faults
) -> list[Any]:
    """[h] checked values of a column, [1] where one is for every step; categories as text."""
    single = type(told) is not list
    values = [told] * horizon if single else told
    if len(values) != horizon:
        faults.add(where, "length_mismatch", f"holds {len(values)} values for {horizon} steps")
        return []
    before = faults.count
    looked = values[:1] if single else values
    if covariate.type == "real":
        numbers([looked], lambda _: where, faults, single=single)
    else:
        looked = categories([looked], lambda _: where, faults, single=single)
    for k, value in enumerate(looked):
        if value is None and faults.count == before:
            at = where if single else (*where, k)
            faults.add(at, "missing", "a scenario says a column for every step, or leaves it out")
            break
    return looked


def check_scenarios(query: Query, spec: Spec) -> int:
    """How many forecasts are made; refuse unknown series, and what should not be one request."""
    options, limits = asked(query), spec.limits
    faults, ids = Faults(), set(query.ids)
    for k, plan in enumerate(options.plans):
        for series in (name for name in plan.of_series if name not in ids):
            detail = f"{show(series)} is none of the request's series"
            faults.add(("scenarios", k, "series", series[:MAX_ID]), "unknown_series", detail)
    faults.stop()
    count, runs, steps = len(query.sizes), options.runs, options.horizon
    forecasts = count * runs
    refuse_windows(
        forecasts,
        limits.windows,
        f"{count} series in {runs} scenarios, the base among them, would run the network over "
        f"{forecasts} windows",
        "ask for fewer series or scenarios at a time",
    )
    total = forecasts * steps * options.draws.paths
    if total > limits.draws:
        raise RequestError(
            413,
            "too_much_work",
            f"{count} series in {runs} scenarios over {steps} steps in {options.draws.paths} paths "
            f"are {total} numbers; at most {limits.draws} (GATECAST_MAX_DRAWS): ask for fewer "
            "paths, scenarios, steps or series at a time",
            extra={"limit": limits.draws},
        )
    size = forecasts * steps * 2 * (len(options.levels) + 2)
    if size > limits.output:
        raise RequestError(
            413,
            "answer_too_large",
            f"the answer would hold {size} numbers; at most {limits.output}: "
            "ask for fewer series, scenarios, steps or quantiles at a time",
            extra={"limit": limits.output},
        )
    return forecasts


def asked(query: Query) -> ScenarioOptions:
    """The options of a body that was read as `SCENARIOS`."""
    if not isinstance(query.options, ScenarioOptions):
        raise AssertionError("a body read as SCENARIOS has its options")
    return query.options


def blocks_of(query: Query, panel: Panel) -> dict[str, Array]:
    """By scenario [N, h, F] what is known ahead: what it says, and else what the request does."""
    options = asked(query)
    base = ahead_of(panel, options.horizon)
    place = {c.name: (k, c) for k, c in enumerate(panel.schema.future)}
    where = {query.ids[p]: k for k, p in enumerate(query.position.tolist())}
    blocks = {}
    for plan in options.plans:
        block = base.copy()
        for name, values in plan.of_all.items():
            k, covariate = place[name]
            block[:, :, k] = encode(values, covariate, missing=np.nan)
        for series, columns in plan.of_series.items():
            for name, values in columns.items():
                k, covariate = place[name]
                if series in where:
                    block[where[series], :, k] = encode(values, covariate, missing=np.nan)
        blocks[plan.name] = block
    return blocks


def notes_of(plan: Plan, spec: Spec) -> list[dict[str, Any]]:
    """What training never saw of a scenario's values: each column once, with its first value."""
    covariates = {c.name: c for c in spec.schema.future}
    notes: dict[str, dict[str, Any]] = {}
    for name, values in plan.columns():
        covariate = covariates[name]
        if covariate.type == "categorical":
            code, off = "unseen_category", [v not in covariate.categories for v in values]
        else:
            code = "outside_training"
            off = beyond_training(np.array(values, np.float64), covariate).tolist()
        if any(off):
            where = {"column": name, "value": values[off.index(True)]}
            notes.setdefault(name, {"code": code, "where": where})
    return list(notes.values())
