"""Which series the challenger answers, and the answer of two versions in one.

The side of a series is a hash of the model's name and the series' id: the same in every worker,
after every restart and for every challenger; a larger share keeps those that a smaller one took.
The champion forecasts all of a request's series, so that its answer stands whatever becomes of the
challenger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from serving.models.batcher import AbandonedError, Answering
from serving.models.keeper import Loaded
from serving.models.keepers import Keepers
from serving.reading.noted import note_unfamiliar
from serving.reading.query import Query, Spec
from serving.running import logs
from serving.running.metrics import Metrics
from serving.writing.answer import Answer, Canary

T = TypeVar("T")

FAILED, OTHER_QUESTION, TOGETHER = "failed", "other_question", "together"
ANSWERED = "answered"


def on_challengers_side(model: str, series: str, share: float) -> bool:
    """Whether a series is among the share that the challenger answers."""
    digest = hashlib.blake2b(f"{model}\0{series}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2.0**64


def same_question(asked: Spec, other: Spec, horizon: int) -> bool:
    """Whether a query that was read for one model can go to another as it stands."""
    columns, others = (
        {(c.role, c.name, c.type) for c in spec.schema.covariates} for spec in (asked, other)
    )
    reached = horizon <= min(asked.horizon, other.horizon) or asked.horizon == other.horizon
    same_step = asked.freq.alias == other.freq.alias
    return same_step and columns == others and reached


@dataclass(frozen=True)
class Split:
    """What the challenger is asked of a request.

    Attributes
    ----------
    ids : of the request's series. places : of those on the challenger's side. because : why it is
        not asked; None: it is. part : the query of those on its side, where it is asked one.
    """

    rival: Loaded
    alias: str
    share: float
    ids: Sequence[str]
    places: Sequence[int]
    because: str | None = None
    part: Query | None = None

    def asked(self, compute: Callable[[Loaded, Query], T]) -> T | None:
        """What the challenger makes of its part; None where it is not asked, or fails."""
        part = self.part
        return None if part is None else self.tried(lambda rival: compute(rival, part))

    def tried(self, compute: Callable[[Loaded], T]) -> T | None:
        """What the challenger makes of it; None where it is not asked, or fails."""
        if self.because is not None:
            return None
        try:
            return compute(self.rival)
        except AbandonedError:
            raise
        except Exception as error:
            self.failed(error)
            return None

    def failed(self, error: BaseException) -> None:
        """Log why the challenger could not answer."""
        origin = self.rival.origin
        logs.warning(
            "the challenger failed on series, and the champion answers",
            model=origin.name,
            version=origin.version,
            reason=f"{type(error).__name__}: {error}"[:300],
        )

    def told(self, answered: Sequence[int]) -> Canary:
        """What the answer says of it, where it answered the series at these places."""
        done = set(answered)
        return Canary(
            origin=self.rival.origin,
            alias=self.alias,
            share=self.share,
            ids=[self.ids[place] for place in self.places if place in done],
            fell_back=[self.ids[place] for place in self.places if place not in done],
            because=self.because or FAILED,
        )


class Canaries:
    """Splits queries between champions and challengers, and counts."""

    def __init__(self, models: Keepers, metrics: Metrics) -> None:
        self.models, self.metrics = models, metrics
        self.share = models.settings.canary

    def rival(self, loaded: Answering) -> Loaded | None:
        """The challenger of the model that a version is of; None where there is none."""
        keeper = self.models.rivals.get(loaded.origin.name)
        rival = keeper.current if keeper is not None else None
        return None if rival is None or rival.origin.version == loaded.origin.version else rival

    def side(self, loaded: Answering, ids: Sequence[str], horizon: int) -> Split | None:
        """The challenger and the series on its side; None where there are none, or no challenger.

        ``horizon`` : steps that are asked for.
        """
        if not self.share:
            return None
        rival, name = self.rival(loaded), loaded.origin.name
        if rival is None:
            return None
        places = [
            place
            for place, series in enumerate(ids)
            if on_challengers_side(name, series, self.share)
        ]
        if not places:
            return None
        other = not same_question(loaded.spec, rival.spec, horizon)
        alias = self.models.settings.challenger
        return Split(rival, alias, self.share, ids, places, OTHER_QUESTION if other else None)

    def split(self, loaded: Answering, query: Query, *, as_one: bool = False) -> Split | None:
        """What the challenger is asked of a query; None as for `side`.

        ``as_one`` : all series of the query are answered by one version or by the other.
        """
        split = self.side(loaded, query.ids, query.options.horizon)
        if split is None or split.because is not None:
            return split
        as_one = as_one or query.options.joint is not None
        if as_one and len(split.places) < len(query.ids):
            return replace(split, because=TOGETHER)
        return replace(split, part=part_of(query, split.places, split.rival.spec))

    def merged(self, split: Split, answer: Answer, other: Answer | None) -> Answer:
        """The champion's answer, with the challenger's forecasts where it has them; counted."""
        merged = merge(split, answer, other)
        self.count(split, merged.canary)
        return merged

    def count(self, split: Split, told: Canary | None) -> None:
        """Count what became of the series on the challenger's side."""
        if told is None:
            return
        series = self.metrics.canary
        name = split.rival.origin.name
        if told.ids:
            series.labels(name, ANSWERED).inc(len(told.ids))
        if told.fell_back:
            series.labels(name, told.because).inc(len(told.fell_back))


def part_of(query: Query, places: Sequence[int], spec: Spec) -> Query:
    """The query of some series, with the notes that another version has of them."""
    part = replace(query, problems=[], notes={})
    if len(places) < len(query.ids):
        part = part.keep(np.isin(query.position, places))
    note_unfamiliar(part, spec)
    return part


def merge(split: Split, answer: Answer, other: Answer | None) -> Answer:
    """The champion's answer, in which the challenger's forecasts replace those of its side.

    A series that either of the two has no forecast of is the champion's.
    """
    if other is None or not len(other.position):
        return replace(answer, canary=split.told([]))
    query = answer.query
    if query.options.joint is not None:
        # Totals are of one version or of the other.
        if not np.array_equal(other.position, answer.position):
            return replace(answer, canary=split.told([]))
        return replace(other, problems=answer.problems, canary=split.told(_places(other)))
    sound = np.isfinite(other.mean).all(axis=1) & np.isfinite(other.quantiles).all(axis=(1, 2))
    mine = np.flatnonzero(np.isin(answer.position, other.position[sound]))
    theirs = np.searchsorted(other.position, answer.position[mine])
    answered = answer.position[mine].tolist()
    mean, quantiles = answer.mean.copy(), answer.quantiles.copy()
    mean[mine], quantiles[mine] = other.mean[theirs], other.quantiles[theirs]
    replaced = set(answered)
    notes = {place: own for place, own in query.notes.items() if place not in replaced}
    notes |= {place: other.query.notes[place] for place in answered if place in other.query.notes}
    alone = len(mine) == len(answer.position)
    return replace(
        answer,
        query=replace(query, notes=notes),
        origin=other.origin if alone else answer.origin,
        mean=mean,
        quantiles=quantiles,
        canary=split.told(answered),
    )


def _places(answer: Answer) -> list[int]:
    places: list[int] = answer.position.tolist()
    return places
