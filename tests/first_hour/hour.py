"""A stranger's first hour, played by a program: install, look, train, serve, ask, look things up.

python -m tests.first_hour     writes docs/first-hour.md (`make first-hour`)
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import yaml

from tests.browser import chromium, executable
from tests.first_hour.tables import TABLES
from tests.installed.places import ROOT, Place, build_wheel, install

GROUPS: Final = ("train", "pipelines", "serve")
# Short, as what is tried here is the way and not the forecast.
SHORT: Final = ("--set", "training.minutes=0.1")
REFUSED: Final = 3  # the exit code where the gate keeps a model from production
READY_SECONDS: Final = 90.0
PAGE: Final = ROOT / "docs" / "first-hour.md"
PICTURE: Final = ROOT / "docs" / "images" / "first-hour.png"
Got = TypeVar("Got")


@dataclass
class Hour:
    """What was done, in order: the command, its seconds, and what it came to."""

    folder: Path
    steps: list[tuple[str, float, str]] = field(default_factory=list)
    champions: list[str] = field(default_factory=list)

    def did(self, what: str, work: Callable[[], Got], said: Callable[[Got], str]) -> Got:
        """Do a step and note it."""
        began = time.monotonic()
        result = work()
        self.steps.append((what, time.monotonic() - began, said(result)))
        return result

    def table(self) -> str:
        """The steps as a table of a page."""
        cores = len(os.sched_getaffinity(0))
        lines = [f"On {cores} cores, Python {platform.python_version()}:", ""]
        lines += ["| step | seconds | what came of it |", "|---|---:|---|"]
        lines += [f"| {what} | {seconds:,.1f} | {said} |" for what, seconds, said in self.steps]
        whole = sum(seconds for _, seconds, _ in self.steps)
        return "\n".join([*lines, f"| in all | {whole:,.1f} | |", ""])


def play(folder: Path, picture: Path | None = None) -> Hour:
    """The whole hour in a folder elsewhere; a step that fails raises `AssertionError`."""
    hour = Hour(folder)
    wheel = build_wheel(folder)
    asked = ",".join(GROUPS)
    place = hour.did(
        f"`pip install 'gatecast[{asked}]'`, torch first",
        lambda: install(folder, wheel, GROUPS),
        lambda place: f"{len(place.installed())} distributions in a new environment",
    )
    hour.did(
        "`gatecast doctor`",
        lambda: place.run("gatecast", "doctor"),
        lambda done: next(line for line in done.stdout.splitlines() if line.startswith("Ready")),
    )
    for name in TABLES:
        _take_in(hour, place, name)
    assert hour.champions, "the gate refused every model"
    with _served(hour, place) as address:
        _ask(hour, place, address, picture)
    hour.did(
        f"`gatecast forecast {hour.champions[0]} --out forecasts.csv`",
        lambda: place.run(
            "gatecast", "forecast", hour.champions[0], "--out", "forecasts.csv", "--no-notify"
        ),
        lambda _: f"{len((place.work / 'forecasts.csv').read_text().splitlines()) - 1} rows",
    )
    for words in (("docs", "gap"), ("history", hour.champions[0])):
        hour.did(
            f"`gatecast {' '.join(words)}`",
            lambda words=words: place.run("gatecast", *words),
            lambda done: f"{len(done.stdout.splitlines())} lines",
        )
    return hour


def _take_in(hour: Hour, place: Place, name: str) -> None:
    """Look at a table and train on it."""
    file = TABLES[name](place.work)
    config = f"{name}.yaml"
    hour.did(
        f"`gatecast init {file.name}`: {_kind(name)}",
        lambda: place.run("gatecast", "init", file.name, "--out", config),
        lambda done: next(line for line in done.stdout.splitlines() if " rows in" in line),
    )

    def train() -> subprocess.CompletedProcess[str]:
        done = place.run("gatecast", "train", config, *SHORT, code=None)
        assert done.returncode in (0, REFUSED), done.stderr
        return done

    done = hour.did(
        f"`gatecast train {config} {' '.join(SHORT)}`",
        train,
        lambda done: "champion" if done.returncode == 0 else "refused by the gate (exit code 3)",
    )
    if done.returncode == 0:
        named = yaml.safe_load((place.work / config).read_text(encoding="utf-8"))["name"]
        hour.champions.append(named)


def _kind(name: str) -> str:
    """The first sentence of what a table is."""
    return str(TABLES[name].__doc__).strip().rstrip(".")


@contextmanager
def _served(hour: Hour, place: Place) -> Iterator[str]:
    named = [word for name in hour.champions for word in ("--model", name)]
    log = hour.folder / "service.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(place.bin / "gatecast"), "serve", *named, "--port", "0"],
            cwd=place.work,
            env=place.variables({}),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield hour.did(
            f"`gatecast serve`, {len(hour.champions)} models",
            lambda: _address(process, log),
            lambda _: "`/readyz` answers",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        words = [word for word in log.read_text().split() if word.startswith("http://127.")]
        if words:
            try:
                answer = httpx.get(f"{words[0]}/readyz", trust_env=False)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return words[0]
        time.sleep(0.1)
    raise AssertionError(f"not ready in time: {log.read_text()}")


def _ask(hour: Hour, place: Place, address: str, picture: Path | None) -> None:
    """A forecast over HTTP, and the explorer in a browser where there is one."""
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as http:
        document = http.get("/openapi.json").json()
        body = document["paths"]["/v1/forecast"]["post"]["requestBody"]["content"]
        example = body["application/json"]["example"]

        def forecast() -> Any:
            answer = http.post("/v1/forecast", json=example)
            assert answer.status_code == 200, answer.text
            return answer.json()

        hour.did(
            "`POST /v1/forecast` with the example of `/docs`",
            forecast,
            lambda answer: f"quantiles {', '.join(answer['forecasts'][0]['quantiles'])}",
        )
    if executable() is None:
        return

    def explore() -> str:
        with chromium(1280, 900) as page:
            page.open(address)
            page.wait("example-1", seconds=READY_SECONDS)
            page.choose("#file", place.work / "surgery.csv")
            page.wait("surgery.csv:", seconds=READY_SECONDS)
            if picture is not None:
                page.picture(picture)
            return page.text()

    hour.did(
        "the explorer in Chromium, `surgery.csv` dropped into it",
        explore,
        lambda text: json.dumps(text.split("surgery.csv:")[1].strip().splitlines()[0]),
    )
