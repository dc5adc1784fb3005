"""The challenger computed beside answers that were sent, and kept with them.

After an answer is sent it may be offered here. A thread of low priority computes the challenger's,
within a budget of a core's time; what does not fit, comes while many requests are under way, or
finds the queue full is dropped and counted. Nothing here can fail a request, nor make one wait.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Final

import numpy as np

from serving.models.batcher import SMALL, alone
from serving.models.canary import part_of, same_question
from serving.models.compared import Journal, cutoffs_of, lines
from serving.models.keeper import Loaded
from serving.running import logs
from serving.running.metrics import Metrics
from serving.settings import ServingSettings
from serving.writing.answer import Answer

MOST_WAITING: Final = 32  # offers
MOST_NUMBERS: Final = 1_000_000  # of the histories and the answers of an offer
MOST_SEEN: Final = 100_000  # series and cutoffs that are not computed a second time
SAVED_SECONDS: Final = 1.0  # of budget that was not used
BUSY_SECONDS: Final = 0.05  # to wait for a moment without requests
MOST_UNDER_WAY: Final = 8  # requests; beyond, nothing is computed beside them
LOW_PRIORITY: Final = 10

# What becomes of a request.
KEPT, KNOWN, DROPPED, BUSY, SPENT = "kept", "known", "dropped", "busy", "over_budget"
OTHER, LARGE, FAILED, UNWRITTEN = "other_question", "too_large", "failed", "unwritten"
NO_MEDIAN = "no_median"
MEDIAN: Final = 0.5  # by which both are judged

SeriesKey = tuple[str, int, int, str, int]


class Budget:
    """A share of the time that passes; what is not used is saved for a second of work."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.share, self.clock = share, clock
        self._left, self._then = SAVED_SECONDS * share, clock()

    @property
    def left(self) -> float:
        """Seconds that may be used now; what was overdrawn is negative."""
        now = self.clock()
        self._left = min(self._left + (now - self._then) * self.share, SAVED_SECONDS * self.share)
        self._then = now
        return self._left

    def spend(self, seconds: float) -> None:
        """Note so many seconds of work."""
        self._left = self.left - seconds


@dataclass(frozen=True)
class _Offer:
    champion: Loaded
    rival: Loaded
    answer: Answer
    other: Answer | None


class Shadow:
    """Takes answers that were sent.

    Parameters
    ----------
    under_way : how many requests are at work now. draw : numbers from 0 to 1, of which those below
        the share are taken.
    """

    def __init__(
        self,
        settings: ServingSettings,
        metrics: Metrics,
        under_way: Callable[[], int],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.settings, self.metrics = settings, metrics
        self.under_way, self.draw = under_way, draw
        self.budget = Budget(settings.shadow_budget)
        self.journal = Journal(settings.compared, settings.shadow_bytes)
        self._queue: Queue[_Offer | None] = Queue(MOST_WAITING)
        self._seen: dict[SeriesKey, None] = {}
        self._thread: threading.Thread | None = None
        self._unwritten = False

    def offer(
        self, champion: Loaded, rival: Loaded, answer: Answer, other: Answer | None = None
    ) -> None:
        """Take an answer of the champion, or leave it; at once, whatever happens.

        ``other`` : the challenger's, where a canary has computed it.
        """
        settings = self.settings
        if other is None and (settings.shadow is None or self.draw() >= settings.shadow_share):
            return
        outcome = self._hindrance(champion, rival, answer, other)
        if outcome is None:
            try:
                self._queue.put_nowait(_Offer(champion, rival, answer, other))
            except Full:
                outcome = DROPPED
        if outcome is not None:
            self._count(champion, outcome)
        elif self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
            self._thread.start()

    def close(self, seconds: float = 1.0) -> None:
        """Take no more; what is computed just now is written."""
        thread = self._thread
        if thread is None:
            return
        with suppress(Empty):
            while True:
                self._queue.get_nowait()
        with suppress(Full):
            self._queue.put_nowait(None)
        thread.join(seconds)

    def drain(self) -> None:
        """Wait until what was taken is done, for tests and benchmarks."""
        self._queue.join()

    def _hindrance(
        self, champion: Loaded, rival: Loaded, answer: Answer, other: Answer | None
    ) -> str | None:
        query = answer.query
        if query.options.joint is not None:
            return OTHER
        if MEDIAN not in query.options.levels:
            return NO_MEDIAN
        if not same_question(champion.spec, rival.spec, query.options.horizon):
            return OTHER
        if _numbers(answer) + (0 if other is None else _numbers(other)) > MOST_NUMBERS:
            return LARGE
        if self._queue.full():
            return DROPPED
        return SPENT if other is None and self.budget.left <= 0 else None

    def _work(self) -> None:
        with suppress(OSError, AttributeError):
            # Of this thread alone, where the system has priorities of threads.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
        while (offer := self._queue.get()) is not None:
            try:
                self._count(offer.champion, self._keep(offer))
            except Exception as error:
                self._count(offer.champion, FAILED)
                logs.warning(
                    "the shadow failed",
                    model=offer.champion.origin.name,
                    version=offer.rival.origin.version,
                    reason=f"{type(error).__name__}: {error}"[:300],
                )
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def _keep(self, offer: _Offer) -> str:
        name = offer.champion.origin.name
        keys = self._unseen(offer)
        if not keys:
            return KNOWN
        other = offer.other
        if other is None:
            if not self._waited():
                return BUSY
            if self.budget.left <= 0:
                return SPENT
            began = time.perf_counter()
            try:
                part = part_of(offer.answer.query, [*keys], offer.rival.spec)
                other = alone(offer.rival, part)
            finally:
                seconds = time.perf_counter() - began
                self.budget.spend(seconds)
                self.metrics.shadow_seconds.labels(name).inc(seconds)
        records = list(lines(offer.answer, other, [*keys]))
        try:
            self.journal.write(name, records)
        except OSError as error:
            if not self._unwritten:
                logs.warning("compared forecasts cannot be kept", reason=str(error))
            self._unwritten = True
            return UNWRITTEN
        # What could not be written is tried again.
        self._seen |= dict.fromkeys(keys.values())
        while len(self._seen) > MOST_SEEN:
            del self._seen[next(iter(self._seen))]
        self._unwritten = False
        self.metrics.shadow_series.labels(name).inc(len(records))
        return KEPT

    def _unseen(self, offer: _Offer) -> dict[int, SeriesKey]:
        """Series by place that these versions have not forecast from there.

        At most `SMALL`, where they are yet to be computed.
        """
        answer, other = offer.answer, offer.other
        query = answer.query
        position = answer.position if other is None else np.intersect1d(
            answer.position, other.position
        )  # fmt: skip
        rows = np.searchsorted(query.position, position)
        cutoffs = cutoffs_of(answer, rows).astype(np.int64).ravel().tolist()
        name, version, rival = (
            offer.champion.origin.name, offer.champion.origin.version, offer.rival.origin.version,
        )  # fmt: skip
        keys: dict[int, SeriesKey] = {}
        for place, cutoff in zip(position.tolist(), cutoffs, strict=True):
            key = (name, version, rival, query.ids[place], cutoff)
            if key not in self._seen:
                keys[place] = key
                if other is None and len(keys) == SMALL:
                    break
        return keys

    def _waited(self) -> bool:
        """Whether few requests are under way; waits a moment for there to be none."""
        end = time.monotonic() + BUSY_SECONDS
        while self.under_way() and time.monotonic() < end:
            time.sleep(BUSY_SECONDS / 10)
        return self.under_way() <= MOST_UNDER_WAY

    def _count(self, champion: Loaded, outcome: str) -> None:
        self.metrics.shadow.labels(champion.origin.name, outcome).inc()


def _numbers(answer: Answer) -> int:
    """How many numbers an answer and its question hold."""
    query = answer.query
    columns = (*query.past.values(), *query.future.values())
    return len(query.y) + sum(map(len, columns)) + answer.mean.size + answer.quantiles.size
