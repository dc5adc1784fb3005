"""The rows of docs/reliability.md: what each promises, and how large a test of it is.

``GATECAST_FAULTS`` says how large: ``quick`` (the default, what `make test` and `make slow` run),
``full``, or a share of the full size such as ``0.1``. ``GATECAST_FAULTS_ROWS`` names rows, all
others are left out; ``GATECAST_FAULTS_RESULTS`` is the file that gets a line of JSON for each test.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Read once: tests of the service take every variable of this kind away.
SIZE = os.environ.get("GATECAST_FAULTS", "quick")
ONLY = os.environ.get("GATECAST_FAULTS_ROWS", "").split()
RESULTS = os.environ.get("GATECAST_FAULTS_RESULTS")


@dataclass(frozen=True)
class Row:
    """What is done, and what must come of it."""

    test: str
    goal: str


ROWS = {
    "fuzz": Row(
        "Fuzzing: schemathesis over the OpenAPI document; random and mutated requests as JSON, "
        "flat, Arrow, gzip, zstd, `/invocations` and raw HTTP",
        "100,000 requests (1,000,000 in full): no 5xx, no hang, no unanswered connection, no "
        "number that is not finite",
    ),
    "requests": Row("Catalogue of bad requests", "≥ 60, each with its status, code and place"),
    "files": Row("Catalogue of bad files", "≥ 40, each with its error, code of exit and place"),
    "crowd": Row(
        "1,000 connections at once, five times; 20 bodies of 30 MB at once",
        "only 200, 429, 503; `/readyz` ≤ 1 s; memory bounded",
    ),
    "slow": Row(
        "2,000 slow connections (headers, bodies), direct and through nginx",
        "no good request fails",
    ),
    "swap": Row(
        "Champion swapped 200 times under load",
        "no failed request, no answer that mixes versions, no growth",
    ),
    "hostile": Row(
        "50 kinds of broken or hostile new champion",
        "the old one goes on; the refusal is in log and metric",
    ),
    "rolling": Row(
        "Five rolling restarts behind nginx, SIGTERM under load",
        "no request lost; exit ≤ 30 s",
    ),
    "worker": Row(
        "`kill -9` of a worker × 20 under load",
        "back within 10 s; through the proxy no failure",
    ),
    "training": Row(
        "`kill -9` of training × 20 at random moments",
        "bit-identical end, no work done twice beyond one checkpoint",
    ),
    "promotion": Row(
        "`kill -9` at every step of promotion × 25",
        "a polling reader sees a valid champion every time",
    ),
    "registry": Row(
        "Registry away for ten minutes: refuses, hangs, half-answers",
        "service up throughout; start from the cache ≤ 20 s",
    ),
    "flips": Row("One flipped bit × 1,000 over every file of a bundle", "1,000 refused"),
    "schedule": Row(
        "Schedule: 1,000 slots, 4 schedulers, 10 killed; both changes of the clock",
        "no slot twice, none lost; an outage gives one run that catches up",
    ),
    "poison": Row(
        "12 kinds of poisoned data × 5 sets; 40 honest retrains",
        "none promoted; ≥ 38 pass",
    ),
    "disk": Row(
        "Full disk under database, stages, cache, output",
        "a clear error, the older state intact",
    ),
    "soak": Row(
        "30 minutes (2 hours in full) at 60 requests/s",
        "≤ 20 MB growth per worker; p99 ≤ 250 ms; no error",
    ),
    "replays": Row("12 replays of known attacks on the libraries below", "all blocked"),
    "mutants": Row(
        "Mutation score on gate, reading, manifest, scheduler, calibration, windows", "≥ 85 %"
    ),
}


def share() -> float | None:
    """The part of the full size that is asked for; None for the quick one."""
    if SIZE == "quick":
        return None
    return 1.0 if SIZE == "full" else float(SIZE)


def wanted(row: str) -> bool:
    """Whether a row is asked for."""
    return not ONLY or row in ONLY


@dataclass
class Measure:
    """What one test finds.

    Attributes
    ----------
    said : the sentence of the table. missed : goals of time or memory that were not reached; these
        depend on the machine, so that they are told and fail no test.
    """

    row: str
    test: str
    said: str = ""
    missed: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def quick(self) -> bool:
        """Whether this is the version of `make test`."""
        return share() is None

    def count(self, quick: int, full: int) -> int:
        """How many: of the size that is asked for, and never fewer than the quick one."""
        part = share()
        return quick if part is None else max(quick, round(full * part))

    def says(self, sentence: str, **figures: Any) -> None:
        """What the table shows, and the figures behind it."""
        self.said = sentence
        self.figures.update(figures)

    def goal(self, what: str, met: bool) -> None:
        """A goal of time or memory."""
        if not met:
            self.missed.append(what)

    def write(self, passed: bool) -> None:
        """A line of the results' file, where one is named."""
        if not RESULTS:
            return
        line = {
            "row": self.row,
            "test": self.test,
            "size": SIZE,
            "passed": passed,
            "said": self.said,
            "missed": self.missed,
            "figures": self.figures,
            "seconds": round(time.monotonic() - self.began, 1),
            "load": round(os.getloadavg()[0], 1),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with Path(RESULTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
