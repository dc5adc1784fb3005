"""Forecasts for requests, computed together when they arrive together.

Requests whose bodies were read in one turn of the event loop are computed in that loop's next
turn: under load they gather by themselves while the batch before them is computed, and a lone
request waits for nobody. Small batches run on the loop's own thread, which saves two thread
switches per request; large requests, and all of a heavy model's, run beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.errors import DataError, SeriesProblem
from forecasting.prediction.answers import Answers
from forecasting.prediction.engine import Runner
from forecasting.windows.batch import Batch
from serving.errors import RequestError
from serving.models.together import drawn, nothing_drawn
from serving.reading.query import Query, Spec
from serving.running.lanes import Lanes
from serving.running.metrics import Metrics
from serving.writing.answer import Answer, Origin
from serving.writing.joint import Together

# Series computed at once on the event loop; more would keep health checks waiting.
SMALL = 64


class AbandonedError(Exception):
    """Nobody waits for this forecast any more."""


class Answering(Protocol):
    """What answers requests: a trained version, or the pretrained network."""

    alone: ClassVar[bool]

    @property
    def spec(self) -> Spec:
        """What it expects of a request."""

    @property
    def origin(self) -> Origin:
        """How an answer names it."""

    @property
    def heavy(self) -> bool:
        """Whether a batch would keep the event loop too long."""

    def forecast(self, query: Query) -> tuple[Forecast, Together | None]:
        """The forecasts of a query that holds series, and what is asked of all together."""

    def nothing(self, query: Query) -> Together | None:
        """What is asked of all series together where none has a forecast."""


@dataclass(frozen=True)
class Servable:
    """What computing needs of a loaded version.

    Attributes
    ----------
    heavy : whether a batch would keep the event loop too long.
    batch_seconds : what a batch of `SMALL` series took when the version was loaded.
    """

    # Whether each request has to be computed by itself.
    alone: ClassVar[bool] = False

    predictor: Answers
    spec: Spec
    origin: Origin
    heavy: bool
    batch_seconds: float

    def seconds_of(self, count: int, horizon: int) -> float:
        """An estimate of the time that so many series and steps take."""
        runs = -(-horizon // self.spec.horizon)
        return self.batch_seconds * runs * max(1.0, count / SMALL)

    def until(self, stop: Event) -> Self:
        """The same version, whose work ends at the next run of the network once ``stop`` is set."""
        engine = copy(self.predictor)
        engine.runner = _stoppable(engine.runner, stop)
        if engine.single_threaded is not None:
            engine.single_threaded = _stoppable(engine.single_threaded, stop)
        return replace(self, predictor=engine)

    def forecast(self, query: Query) -> tuple[Forecast, Together | None]:
        """The forecasts of a query, and what is asked of all its series together."""
        joint = query.options.joint
        if joint is not None:
            return drawn(self.predictor, self.spec, query, joint)
        forecast = self.predictor.predict_panel(
            query.panel(self.spec),
            horizon=query.options.horizon,
            quantiles=query.options.levels,
            extend=query.options.extend,
        )
        return forecast, None

    def nothing(self, query: Query) -> Together | None:
        """What is asked of all series together where none has a forecast."""
        joint, options = query.options.joint, query.options
        if joint is None:
            return None
        none = Forecast(
            ids=np.zeros(0, np.int64),
            start=query.start,
            freq=self.spec.freq,
            tz=query.tz,
            mean=np.empty((0, options.horizon)),
            quantiles=np.empty((0, options.horizon, len(options.levels))),
            levels=options.levels,
        )
        return nothing_drawn(self.predictor, query, joint, none)


def _stoppable(runner: Runner, stop: Event) -> Runner:
    def run(batch: Batch[Array]) -> tuple[Array, Array, Array]:
        if stop.is_set():
            raise AbandonedError
        return runner(batch)

    return run


@dataclass
class _Waiting:
    model: Answering
    query: Query
    done: asyncio.Future[Answer]


class Batcher:
    """Takes queries one by one and computes them in batches.

    Parameters
    ----------
    lanes : where heavy batches are computed.
    together : whether requests share batches; False computes each alone.
    """

    def __init__(self, metrics: Metrics, lanes: Lanes, *, together: bool = True) -> None:
        self.metrics, self.lanes = metrics, lanes
        self.together = together
        self._waiting: list[_Waiting] = []
        self._scheduled = False
        self._busy: set[int] = set()

    async def forecast(self, model: Answering, query: Query) -> Answer:
        """The answer to one query of at most `SMALL` series."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Waiting(model, query, done))
        self._schedule(loop)
        return await done

    def compute(self, model: Answering, queries: Sequence[Query]) -> list[Answer]:
        """Answers in the order of the queries, all from one version."""
        answers: dict[int, Answer] = {}
        groups: dict[Hashable, list[int]] = {}
        for k, query in enumerate(queries):
            if not len(query.sizes):
                answers[k] = _nothing(model, query)
                continue
            groups.setdefault(_group(model, query), []).append(k)
        for indices in groups.values():
            chosen = [queries[k] for k in indices]
            self.metrics.batch_requests.observe(len(chosen))
            self.metrics.batch_series.observe(sum(len(q.sizes) for q in chosen))
            answers.update(zip(indices, _forecast(model, chosen), strict=True))
        return [answers[k] for k in range(len(queries))]

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled and any(id(w.model) not in self._busy for w in self._waiting):
            self._scheduled = True
            loop.call_soon(self._flush, loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        batch = self._next_batch()
        self._schedule(loop)
        if not batch:
            return
        model = batch[0].model
        if not model.heavy:
            _deliver(batch, self._results(batch))
            return
        # The next batch of this model gathers until this one is done.
        self._busy.add(id(model))

        def finish(work: asyncio.Future[list[Answer | Exception]]) -> None:
            self._busy.discard(id(model))
            self._schedule(loop)
            _deliver(batch, work.result())

        work = asyncio.ensure_future(self.lanes.run(lambda: self._results(batch)))
        work.add_done_callback(finish)

    def _next_batch(self) -> list[_Waiting]:
        """Those who wait longest for one version that is free, and fit into one batch."""
        count = 0
        batch: list[_Waiting] = []
        rest: list[_Waiting] = []
        for item in self._waiting:
            if item.done.done():
                continue
            size = len(item.query.sizes)
            first = not batch and id(item.model) not in self._busy
            joins = self.together and batch and count + size <= SMALL
            if first or (joins and item.model is batch[0].model):
                batch.append(item)
                count += size
            else:
                rest.append(item)
        self._waiting = rest
        return batch

    def _results(self, batch: list[_Waiting]) -> list[Answer | Exception]:
        try:
            return [*self.compute(batch[0].model, [item.query for item in batch])]
        except Exception as error:
            if len(batch) == 1:
                return [error]
            # Nobody pays for a neighbour's fault.
            return [result for item in batch for result in self._results([item])]


def _deliver(batch: list[_Waiting], results: list[Answer | Exception]) -> None:
    for item, result in zip(batch, results, strict=True):
        if item.done.done():
            continue
        if isinstance(result, Exception):
            item.done.set_exception(result)
        else:
            item.done.set_result(result)


def _group(model: Answering, query: Query) -> Hashable:
    """Queries of one group can share a panel."""
    spec, horizon = model.spec, query.options.horizon
    if model.alone or query.options.joint is not None:
        # What takes its series together takes no others' along.
        return id(query)
    free = not spec.schema.future and horizon <= spec.horizon
    return query.tz, None if free else horizon


def _forecast(model: Answering, queries: Sequence[Query]) -> list[Answer]:
    query = queries[0] if len(queries) == 1 else _merged(queries)
    try:
        forecast, together = model.forecast(query)
    except DataError as error:
        raise RequestError(422, "invalid_request", str(error)) from None
    if len(queries) == 1:
        return [_answer(model, queries[0], forecast, 0, together)]
    begins = np.cumsum([0, *(len(q.sizes) for q in queries)]).tolist()
    return [_answer(model, q, forecast, b) for q, b in zip(queries, begins, strict=False)]


def alone(model: Answering, query: Query) -> Answer:
    """The answer to one query, outside of any batch, which nobody counts."""
    return _forecast(model, [query])[0] if len(query.sizes) else _nothing(model, query)


def _nothing(model: Answering, query: Query) -> Answer:
    """The answer when every series was refused."""
    steps, levels = query.options.horizon, len(query.options.levels)
    return Answer(
        query=query,
        origin=model.origin,
        freq=model.spec.freq,
        position=query.position,
        stamps=query.start.reshape(0, 1)[:, [0] * steps],
        mean=np.empty((0, steps)),
        quantiles=np.empty((0, steps, levels)),
        problems=query.problems,
        together=model.nothing(query),
    )


def _merged(queries: Sequence[Query]) -> Query:
    options = queries[0].options
    levels = sorted({level for q in queries for level in q.options.levels})
    horizon = max(q.options.horizon for q in queries)
    extend = any(q.options.extend for q in queries)

    def columns(kind: str) -> dict[str, Any]:
        names = getattr(queries[0], kind)
        return {name: np.concatenate([getattr(q, kind)[name] for q in queries]) for name in names}

    return Query(
        options=type(options)(horizon, tuple(levels), extend, options.tz),
        ids=[],
        position=np.zeros(0, np.int64),
        y=np.concatenate([q.y for q in queries]),
        sizes=np.concatenate([q.sizes for q in queries]),
        start=np.concatenate([q.start for q in queries]),
        tz=queries[0].tz,
        past=columns("past"),
        future=columns("future"),
        static=columns("static"),
    )


def _answer(
    model: Answering,
    query: Query,
    forecast: Forecast,
    begin: int,
    together: Together | None = None,
) -> Answer:
    """The part of a forecast that belongs to the query whose series start at ``begin``."""
    end = begin + len(query.sizes)
    rows = slice(*np.searchsorted(forecast.ids, [begin, end]).tolist())
    horizon = query.options.horizon
    levels = [forecast.levels.index(level) for level in query.options.levels]
    local = np.asarray(forecast.ids[rows], np.int64) - begin
    problems = list(query.problems)
    for problem in forecast.problems:
        k = int(problem.id)
        if begin <= k < end:
            place = int(query.position[k - begin])
            named = SeriesProblem(query.ids[place], problem.code, problem.detail, problem.where)
            problems.append((place, named))
    return Answer(
        query=query,
        origin=model.origin,
        freq=forecast.freq,
        position=query.position[local],
        stamps=query.ahead(local, forecast.freq),
        mean=forecast.mean[rows, :horizon],
        quantiles=forecast.quantiles[rows, :horizon][:, :, levels],
        problems=problems,
        together=together,
    )
