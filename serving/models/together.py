"""A request that takes its series together: paths, totals and a hierarchy from one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from forecasting.data.forecast import Forecast
from forecasting.errors import DataError
from forecasting.paths.coherent import coherent
from forecasting.paths.hierarchy import Hierarchy, Levels
from forecasting.paths.sampling import Paths, sample
from forecasting.paths.totals import TotalError, add_up, by_categories
from forecasting.prediction.engine import Engine
from serving.errors import Fault, RequestError
from serving.reading.query import Query, Spec
from serving.reading.together import Joint
from serving.writing.joint import Together

Labels = Mapping[str, Sequence[str | None]]


def drawn(engine: Engine, spec: Spec, query: Query, joint: Joint) -> tuple[Forecast, Together]:
    """The forecasts of a query, ids as its panel has them, and what is asked of all together.

    Raises
    ------
    RequestError : 422 where a hierarchy cannot add up, 413 where it would cost too much.
    DataError : as `Engine.predict_panel`.
    """
    panel, options = query.panel(spec), query.options
    labels = {**query.labels, **joint.labels}
    _check_names(labels, joint, len(query.ids))
    if joint.levels is not None:
        _check_sums(labels, joint, len(query.ids), spec, options.horizon)
    paths = sample(
        engine,
        panel,
        joint.draws,
        horizon=options.horizon,
        quantiles=options.levels,
        extend=options.extend,
        names=[query.ids[place] for place in query.position.tolist()],
    )
    whole = replace(paths, labels=labels, asked=np.array(query.ids, dtype=object))
    aggregates = None
    if joint.levels is not None:
        try:
            aggregates = coherent(engine, panel, whole, joint.levels, extend=options.extend)
        except DataError as error:
            raise _cannot_add_up(str(error)) from None
    samples = np.ascontiguousarray(paths.values.transpose(0, 2, 1)) if joint.shown else None
    totals = [add_up(whole, total) for total in joint.totals]
    return paths.forecast, Together(joint, engine.dependence.learned, samples, totals, aggregates)


def nothing_drawn(engine: Engine, query: Query, joint: Joint, forecast: Forecast) -> Together:
    """What is asked of all series together where none has a forecast."""
    if joint.levels is not None:
        raise _cannot_add_up("no series of the hierarchy has a forecast")
    _check_names({**query.labels, **joint.labels}, joint, len(query.ids))
    steps, paths = query.options.horizon, joint.draws.paths
    none = Paths(
        forecast=forecast,
        names=np.zeros(0, dtype=object),
        values=np.zeros((0, steps, paths)),
        seed=joint.draws.seed,
        labels={**query.labels, **joint.labels},
        asked=np.array(query.ids, dtype=object),
    )
    samples = np.zeros((0, paths, steps)) if joint.shown else None
    totals = [add_up(none, total) for total in joint.totals]
    return Together(joint, engine.dependence.learned, samples, totals)


def _check_names(labels: Labels, joint: Joint, count: int) -> None:
    """Refuse totals and sums of which two would bear one name."""
    groupings: list[tuple[Sequence[str] | None, tuple[str | int, ...]]]
    groupings = [(total.by, ("aggregate", k, "by")) for k, total in enumerate(joint.totals)]
    if joint.levels is not None:
        groupings += [(by, ("hierarchy", "levels", k)) for k, by in enumerate(joint.levels.by)]
    for by, path in groupings:
        try:
            by_categories(labels, by or (), count, path)
        except TotalError as error:
            fault = Fault(error.path, error.code, error.text)
            raise RequestError(422, "invalid_request", str(error), [fault]) from None


def _check_sums(labels: Labels, joint: Joint, count: int, spec: Spec, horizon: int) -> None:
    """Refuse a hierarchy whose sums would run the network too often."""
    levels = joint.levels or Levels(())
    sums = len(Hierarchy.of(labels, levels.by, count))
    origins = joint.runs() // (1 + len(levels.by))
    windows = (count + sums) * origins * -(-horizon // spec.horizon)
    if windows > spec.limits.windows:
        raise RequestError(
            413,
            "too_much_work",
            f"{count} series and {sums} sums would run the network over {windows} windows; at "
            f"most {spec.limits.windows} (GATECAST_MAX_WINDOWS): ask for fewer series or levels, "
            "or how = wls_struct",
            extra={"limit": spec.limits.windows},
        )


def _cannot_add_up(detail: str) -> RequestError:
    fault = Fault(("hierarchy",), "cannot_add_up", detail)
    return RequestError(422, "invalid_request", f"hierarchy: {detail}", [fault])
