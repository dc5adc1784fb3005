"""What if: forecasts under other known-future covariates, beside those of a base.

A path of a scenario and that of the base draw the same luck: at every step they stand at the same
rank of their forecasts, which `Dependence` draws by seed, series and origin and by nothing that a
scenario changes. So a path's difference is what the change makes of it, luck held, and its
quantiles say how far that goes by luck; what the model does not know of the change, they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from forecasting.arrays import Array
from forecasting.config import Classical
from forecasting.copula.dependence import in_ranks
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.errors import DataError, SeriesProblem
from forecasting.paths.sampling import AT_ONCE, Draws, labels_of, levels_and_places, refuse_too_much
from forecasting.paths.totals import quantiles_of_paths
from forecasting.prediction.checks import whole_steps
from forecasting.prediction.engine import Engine
from forecasting.prediction.reading import Pool
from forecasting.quantiles import ASKED
from forecasting.schema import Schema

# The base where nobody names one: what the table, or the request, says of the steps ahead.
BASE: Final = "base"
MOST_SCENARIOS: Final = 50
MOST_NAME: Final = 256
MEDIAN: Final = 0.5


@dataclass(frozen=True)
class Difference:
    """What a scenario changes of the base: of n series over h steps, at Q levels.

    Attributes
    ----------
    mean, median : [n, h] the scenario's less the base's. quantiles : [n, h, Q] of the paths'
        differences. total_mean : [n], total_quantiles : [n, Q] of their sums over all steps.
    """

    mean: Array
    median: Array
    quantiles: Array
    total_mean: Array
    total_quantiles: Array


@dataclass(frozen=True)
class Outcome:
    """One scenario.

    Attributes
    ----------
    position : [n] the panel's series that have a forecast in it, and one in the base.
    forecast : of those series, at the levels asked for. difference : None for the base.
    """

    name: str
    position: Array
    forecast: Forecast
    difference: Difference | None


@dataclass(frozen=True)
class Compared:
    """The base first, then each scenario as it was given.

    ``problems`` : series without a forecast, by scenario; of one that has none for one reason
    anywhere, once, under None.
    """

    base: str
    outcomes: tuple[Outcome, ...]
    problems: tuple[tuple[str | None, SeriesProblem], ...]


def check_plan(names: Sequence[str], base: str | None, schema: Schema) -> None:
    """Refuse scenarios that are none.

    Raises
    ------
    DataError : no scenario, too many, two of one name, an unknown base, or a model that has no
        covariates known ahead.
    """
    if not schema.future:
        raise DataError(
            "the model has no covariates known ahead, so no scenario can differ from another; "
            "train it with some (`future`) first"
        )
    if not 1 <= len(names) <= MOST_SCENARIOS:
        raise DataError(f"{len(names)} scenarios: there must be 1 to {MOST_SCENARIOS}")
    used = set() if base is not None else {BASE}
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME:
            raise DataError(f"scenario {name!r} must be text of 1 to {MOST_NAME} characters")
        if name in used:
            why = "is what the table itself says" if name == BASE and base is None else "is there"
            raise DataError(f"scenario {name!r}: this name {why} already; choose another")
        used.add(name)
    if base is not None and base not in names:
        raise DataError(f"base = {base!r} is none of the scenarios: {', '.join(map(repr, names))}")


def ahead_of(panel: Panel, steps: int) -> Array:
    """[N, h, F] what a panel says of covariates ahead; NaN where it says nothing."""
    block = np.full((len(panel), steps, len(panel.schema.future)), np.nan)
    if panel.horizon is not None:
        block[:, : panel.horizon.shape[1]] = panel.horizon[:, :steps]
    return block


def compare(
    engine: Engine,
    panel: Panel,
    scenarios: Mapping[str, Array],
    *,
    base: str | None = None,
    draws: Draws | None = None,
    horizon: int | None = None,
    quantiles: Sequence[float] = ASKED,
    names: Sequence[str] | None = None,
) -> Compared:
    """Forecast every series in each scenario, and say what it changes.

    Parameters
    ----------
    scenarios : by name [N, h, F] the known-future covariates of the steps ahead, encoded as the
        panel's are. base : the one that others are compared with; None: what the panel itself
        says, under the name "base".
    draws, names : as `forecasting.paths.sampling.sample` takes them.

    Raises
    ------
    DataError : as `Engine.predict_panel` and `check_plan`; more numbers of paths than there may be.
    """
    check_plan(list(scenarios), base, panel.schema)
    draws = (draws or Draws()).checked()
    steps = engine.config.horizon if horizon is None else whole_steps(horizon)
    engine.check(panel, steps, quantiles, False)
    blocks = dict(scenarios) if base is not None else {BASE: ahead_of(panel, steps), **scenarios}
    first = BASE if base is None else base
    blocks = {first: blocks[first], **blocks}
    refuse_too_much(len(panel) * len(blocks), steps, draws.paths)
    wanted = tuple(dict.fromkeys(quantiles))
    levels, own, rising = levels_and_places(draws.paths, (*dict.fromkeys((*wanted, MEDIAN)),))
    forecasts, rows = _forecast(engine, panel, blocks, steps, levels)
    ids = [str(i) for i in (panel.ids if names is None else names)]
    ranks = _Ranks(engine, panel, ids, (steps, draws.paths), draws.seed)
    # Scenarios of the same series are looked at together.
    alike: dict[bytes, list[str]] = {}
    for name in blocks:
        alike.setdefault(((rows[first] >= 0) & (rows[name] >= 0)).tobytes(), []).append(name)
    by_name: dict[str, Outcome] = {}
    for key, group in alike.items():
        position = np.flatnonzero(np.frombuffer(key, bool))
        changes = _differences(
            forecasts, rows[first][position], [rows[name][position] for name in group],
            (own, rising), partial(_ranks_of, ranks, position, rows[first], forecasts), wanted,
        )  # fmt: skip
        for name, change in zip(group, changes, strict=True):
            here = rows[name][position]
            forecast = replace(
                forecasts,
                ids=panel.ids[position],
                start=forecasts.start[here],
                mean=forecasts.mean[here],
                quantiles=forecasts.quantiles[here[:, None, None], np.arange(steps)[:, None],
                                              own[: len(wanted)]],
                levels=wanted,
                problems=[],
            )  # fmt: skip
            by_name[name] = Outcome(name, position, forecast, None if name == first else change)
    outcomes = tuple(by_name[name] for name in blocks)
    return Compared(first, outcomes, _problems(forecasts, panel, list(blocks)))


def _forecast(
    engine: Engine, panel: Panel, blocks: Mapping[str, Array], steps: int, levels: tuple[float, ...]
) -> tuple[Forecast, dict[str, Array]]:
    """All forecasts at once, and by scenario [N] the row of each series in them; -1 for none.

    A series that a scenario leaves as it is in the base is the base's row.
    """
    count, (first, *others) = len(panel), list(blocks)
    places, parts, ahead = {first: np.arange(count)}, [np.arange(count)], [blocks[first]]
    size = count
    for name in others:
        same = _alike(blocks[name], blocks[first])
        moved = np.flatnonzero(~same)
        place = np.arange(count)
        place[moved] = size + np.arange(len(moved))
        size += len(moved)
        places[name] = place
        parts.append(moved)
        ahead.append(blocks[name][moved])
    index = np.concatenate(parts)
    many = replace(panel.select(index), ids=np.arange(size), horizon=np.concatenate(ahead))
    once = copy(engine)
    once.pool = _once(engine.pool)
    forecast = once.checked(many, steps, levels)
    row = np.full(size, -1)
    row[np.asarray(forecast.ids, np.int64)] = np.arange(len(forecast.ids))
    owner = [first] * count + [name for name, part in zip(others, parts[1:], strict=True)
                               for _ in part]  # fmt: skip
    problems = [
        replace(p, id=f"{owner[int(p.id)]}\x1f{index[int(p.id)]}") for p in forecast.problems
    ]
    return replace(forecast, problems=problems), {n: row[p] for n, p in places.items()}


def _alike(one: Array, other: Array) -> Array:
    """[N] whether two blocks [N, h, F] say the same of a series."""
    return np.asarray(((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=(1, 2)))


def _once(pool: Pool) -> Pool:
    """The same forecasts of classical methods, made once of histories that stand there again."""

    def made(
        y: Array, offsets: Array, season: int, horizon: int, names: Sequence[Classical], rows: int
    ) -> Array:
        seen: dict[bytes, int] = {}
        ends = list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
        place = np.array([seen.setdefault(y[a:b].tobytes(), len(seen)) for a, b in ends], np.int64)
        if len(seen) == len(ends):
            return pool(y, offsets, season, horizon, names, rows)
        _, firsts = np.unique(place, return_index=True)
        parts = [y[ends[k][0] : ends[k][1]] for k in firsts.tolist()]
        sizes = np.array([len(part) for part in parts], np.int64)
        own = np.concatenate([[0], np.cumsum(sizes)])
        forecasts = pool(np.concatenate(parts), own, season, horizon, names, rows)
        return np.asarray(forecasts[:, place])

    return made


class _Ranks:
    """[n, h, S] at which rank of its forecast each path of some series of a panel stands."""

    def __init__(
        self, engine: Engine, panel: Panel, names: list[str], shape: tuple[int, int], seed: int
    ) -> None:
        self.engine, self.names, self.shape, self.seed = engine, names, shape, seed
        self.labels = labels_of(panel)

    def of(self, position: Array, start: Array) -> Array:
        """Of the series at positions [n], whose forecasts begin at ``start`` [n]."""
        scores = self.engine.dependence.scores(
            [self.names[k] for k in position.tolist()],
            start.astype(np.int64).tolist(),
            {c: [column[k] for k in position.tolist()] for c, column in self.labels.items()},
            self.shape,
            self.seed,
        )
        places = np.broadcast_to(np.arange(scores.shape[-1]), scores.shape)
        return in_ranks(places, scores)


def _ranks_of(ranks: _Ranks, position: Array, row: Array, found: Forecast, part: Array) -> Array:
    return ranks.of(position[part], found.start[row[position[part]]])


def _differences(
    found: Forecast,
    base: Array,
    others: Sequence[Array],
    places: tuple[Array, Array],
    ranks: Callable[[Array], Array],
    wanted: tuple[float, ...],
) -> list[Difference]:
    """Of forecast rows ``others`` [n] each beside those of ``base`` [n].

    ``places`` : of levels in them. ``ranks`` : of the paths of those of the n series at [m].
    """
    own, rising = places
    many, steps, count = len(others), found.mean.shape[1], len(base)
    median = own[[*dict.fromkeys((*wanted, MEDIAN))].index(MEDIAN)]
    quantiles = np.empty((many, count, steps, len(wanted)))
    totals = np.empty((many, count, len(wanted)))
    # So many series at once that what is made of all scenarios stays in memory's reach.
    width = max(AT_ONCE // many, 1)
    for begin in range(0, count, width):
        part = np.arange(begin, min(begin + width, count))
        rank = ranks(part)
        there = found.quantiles[base[part]][..., rising]
        here = np.stack([found.quantiles[rows[part]][..., rising] for rows in others])
        here -= there
        paths = np.take_along_axis(here, rank[None], axis=-1).sum(axis=2)
        quantiles[:, part] = quantiles_of_paths(here, wanted)
        totals[:, part] = quantiles_of_paths(paths, wanted)
    changes = []
    for k, rows in enumerate(others):
        mean = found.mean[rows] - found.mean[base]
        middle = found.quantiles[rows, :, median] - found.quantiles[base, :, median]
        changes.append(Difference(mean, middle, quantiles[k], mean.sum(axis=1), totals[k]))
    return changes


def _problems(
    found: Forecast, panel: Panel, names: list[str]
) -> tuple[tuple[str | None, SeriesProblem], ...]:
    by: dict[tuple[int, str, str], list[tuple[str, SeriesProblem]]] = {}
    for problem in found.problems:
        scenario, _, place = problem.id.rpartition("\x1f")
        named = replace(problem, id=str(panel.ids[int(place)]))
        by.setdefault((int(place), problem.code, problem.detail), []).append((scenario, named))
    problems: list[tuple[str | None, SeriesProblem]] = []
    for _, group in sorted(by.items(), key=lambda item: item[0]):
        # What is wrong with a series in the base is wrong with it, whatever the scenario.
        if any(scenario == names[0] for scenario, _ in group):
            problems.append((None, group[0][1]))
        else:
            problems += group
    return tuple(problems)
