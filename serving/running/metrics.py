"""What the service counts. With several workers the counts live in files that all of them share."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from math import nan

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

STAGES = ("read", "parse", "compute", "write")
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
# By the verdicts of `gatecast monitor`; "too little history to tell" is none.
DRIFT = {"fine": 0, "look at these series": 1, "retrain": 2}
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384, 65536)

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The service's counters, one set per worker."""

    def __init__(self) -> None:
        shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        registry = CollectorRegistry(auto_describe=True)
        self.registry = registry
        self.requests = Counter(
            "gatecast_requests_total",
            "Requests answered",
            ["route", "status"],
            registry=registry,
        )
        self.errors = Counter(
            "gatecast_errors_total",
            "Requests and series refused, by code",
            ["code"],
            registry=registry,
        )
        self.latency = Histogram(
            "gatecast_request_seconds", "From the request's head to the end of its answer",
            ["route"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        stage = Histogram(
            "gatecast_stage_seconds", "Time of a forecast request by stage; compute holds the wait",
            ["stage"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.stage = {name: stage.labels(name) for name in STAGES}
        self.series = Counter(
            "gatecast_series_total", "Series forecast", ["model"], registry=registry
        )
        self.batch_requests = Histogram(
            "gatecast_batch_requests",
            "Requests computed together",
            buckets=COUNTS,
            registry=registry,
        )
        self.batch_series = Histogram(
            "gatecast_batch_series",
            "Series computed together",
            buckets=COUNTS,
            registry=registry,
        )
        self.waiting = Gauge(
            "gatecast_requests_under_way", "Requests under way",
            multiprocess_mode="livesum", registry=registry,
        )  # fmt: skip
        self.version = Gauge(
            "gatecast_model_version", "Version that answers", ["model"],
            multiprocess_mode="livemin", registry=registry,
        )  # fmt: skip
        self.created = Gauge(
            "gatecast_model_created_seconds", "When that version was trained, Unix time",
            ["model"], multiprocess_mode="livemin", registry=registry,
        )  # fmt: skip
        self.loaded = Gauge(
            "gatecast_model_loaded_seconds", "When that version was loaded, Unix time",
            ["model"], multiprocess_mode="livemin", registry=registry,
        )  # fmt: skip
        self.polled = Gauge(
            "gatecast_registry_seen_seconds",
            "When the registry last answered, Unix time; its distance to now is the staleness",
            ["model"], multiprocess_mode="livemin", registry=registry,
        )  # fmt: skip
        self.drift = Gauge(
            "gatecast_model_drift",
            "What `gatecast monitor` said last: 0 fine, 1 look at series, 2 retrain",
            ["model"], multiprocess_mode="livemax", registry=registry,
        )  # fmt: skip
        self.watched = Gauge(
            "gatecast_model_watched_seconds", "When it said so, Unix time",
            ["model"], multiprocess_mode="livemax", registry=registry,
        )  # fmt: skip
        self.swaps = Counter(
            "gatecast_swaps_total", "Versions swapped in", ["model"], registry=registry
        )
        self.failures = Counter(
            "gatecast_load_failures_total", "Versions or polls that failed",
            ["model", "reason"], registry=registry,
        )  # fmt: skip
        self._of_challengers()
        self._shared = shared

    def _of_challengers(self) -> None:
        registry = self.registry
        self.challenger = Gauge(
            "gatecast_challenger_version", "Version beside the one that answers; 0: none",
            ["model"], multiprocess_mode="livemin", registry=registry,
        )  # fmt: skip
        self.challenger_failures = Counter(
            "gatecast_challenger_failures_total", "Challengers that could not be loaded",
            ["model", "reason"], registry=registry,
        )  # fmt: skip
        self.canary = Counter(
            "gatecast_canary_series_total",
            "Series of the challenger's side: answered by it, or by the champion because of …",
            ["model", "outcome"], registry=registry,
        )  # fmt: skip
        self.shadow = Counter(
            "gatecast_shadow_requests_total", "Requests for the shadow, by what became of them",
            ["model", "outcome"], registry=registry,
        )  # fmt: skip
        self.shadow_series = Counter(
            "gatecast_shadow_series_total", "Series kept with both forecasts",
            ["model"], registry=registry,
        )  # fmt: skip
        self.shadow_seconds = Counter(
            "gatecast_shadow_seconds_total", "Time that the shadow computed",
            ["model"], registry=registry,
        )  # fmt: skip

    def seen(self, model: str) -> None:
        """Note that the registry answered."""
        self.polled.labels(model).set(time.time())

    def judged(self, model: str, watch: str | None) -> None:
        """Note what the last watch said, by the tag that `gatecast monitor` leaves on a version."""
        try:
            record = json.loads(watch) if watch else None
            level = DRIFT.get(record["verdict"]) if record else None
            at = datetime.fromisoformat(record["at"]).timestamp() if record else nan
        except (ValueError, TypeError, KeyError):
            level, at = None, nan
        # NaN says that nobody has looked, and sets off no alarm.
        self.drift.labels(model).set(nan if level is None else level)
        self.watched.labels(model).set(at)

    def text(self) -> bytes:
        """The exposition of all workers."""
        if not self._shared:
            return generate_latest(self.registry)
        from prometheus_client import multiprocess

        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
