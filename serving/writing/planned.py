"""Scenarios as a caller gets them: forecasts, and what each changes of the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from forecasting.arrays import Array
from forecasting.errors import SeriesProblem
from forecasting.paths.scenarios import BASE, Compared, Difference, Outcome
from serving.reading.asked.scenario_options import asked, notes_of
from serving.reading.query import Query, Spec
from serving.reading.stamps import write_stamps
from serving.writing.answer import JSON_OPTIONS, Origin


def write_planned(
    found: Compared | None, query: Query, spec: Spec, origin: Origin, learned: bool
) -> bytes:
    """The JSON of an answer; None where no series could be asked about.

    ``learned`` : whether the dependence was learned in training, or is the usual one.
    """
    options = asked(query)
    names = [plan.name for plan in options.plans]
    if options.base is None:
        names = [BASE, *names]
    outcomes = {one.name: one for one in found.outcomes} if found is not None else {}
    plans = {plan.name: plan for plan in options.plans}
    scenarios = []
    for name in names:
        one: dict[str, Any] = {"name": name, "forecasts": []}
        if name in outcomes:
            one["forecasts"] = _forecasts(outcomes[name], query)
        notes = notes_of(plans[name], spec) if name in plans else []
        scenarios.append({**one, "notes": notes} if notes else one)
    draws = options.draws
    content = {
        "model": origin.public(),
        "base": BASE if options.base is None else options.base,
        "joint": {
            "paths": draws.paths,
            "seed": draws.seed,
            "dependence": "learned" if learned else "usual",
        },
        "scenarios": scenarios,
        "errors": _errors(found, query),
    }
    return orjson.dumps(content, option=JSON_OPTIONS)


def _forecasts(outcome: Outcome, query: Query) -> list[dict[str, Any]]:
    forecast = outcome.forecast
    keys = [f"{level:g}" for level in forecast.levels]
    stamps = write_stamps(query.ahead(outcome.position, forecast.freq), forecast.freq, query.tz)
    mean, levels = np.ascontiguousarray(forecast.mean), _by_level(forecast.quantiles)
    change = outcome.difference
    moved = [{}] * len(mean) if change is None else _differences(change, keys)
    forecasts = []
    for k, i in enumerate(outcome.position.tolist()):
        place = int(query.position[i])
        one = {
            "id": query.ids[place],
            "ds": stamps[k],
            "mean": mean[k],
            "quantiles": dict(zip(keys, levels[k], strict=True)),
            **moved[k],
        }
        # What is to be known of a series is so in every scenario: it is told of the base.
        if change is None and place in query.notes:
            one["notes"] = query.notes[place]
        forecasts.append(one)
    return forecasts


def _differences(change: Difference, keys: Sequence[str]) -> list[dict[str, Any]]:
    levels = _by_level(change.quantiles)
    mean, median = np.ascontiguousarray(change.mean), np.ascontiguousarray(change.median)
    return [
        {
            "difference": {
                "mean": mean[k],
                "median": median[k],
                "quantiles": dict(zip(keys, levels[k], strict=True)),
                "total": {
                    "mean": change.total_mean[k],
                    "quantiles": dict(zip(keys, change.total_quantiles[k].tolist(), strict=True)),
                },
            }
        }
        for k in range(len(mean))
    ]


def _by_level(values: Array) -> Array:
    """[N, Q, h], so that each level of each series is one stretch of memory."""
    return np.ascontiguousarray(np.moveaxis(values, 2, 1))


def _errors(found: Compared | None, query: Query) -> list[dict[str, Any]]:
    problems: list[tuple[int, SeriesProblem, dict[str, str]]] = [
        (place, problem, {}) for place, problem in query.problems
    ]
    for scenario, problem in found.problems if found is not None else ():
        where = {} if scenario is None else {"scenario": scenario}
        problems.append((int(query.position[int(problem.id)]), problem, where))
    return [
        {
            "id": query.ids[place],
            "code": p.code,
            "detail": p.detail,
            "where": {**p.where, **where},
        }
        for place, p, where in sorted(problems, key=lambda one: one[0])
    ]
