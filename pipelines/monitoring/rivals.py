"""Champion and challenger on what happened: the service kept what both said of the same series."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from forecasting.errors import DataError
from forecasting.evaluation.bootstrap import paired_bootstrap
from pipelines.machine.say import Say
from pipelines.machine.state import home
from pipelines.monitoring.past import join

if TYPE_CHECKING:
    from forecasting.data.panel import Panel

FOLDER = "compared"  # below home, as `gatecast serve` writes it
PAIR = ["champion", "challenger"]
ONCE = [*PAIR, "unique_id", "cutoff", "step"]
LEVEL = 0.95  # of the interval of a difference


@dataclass(frozen=True)
class Rivalry:
    """Two versions on the same series and stamps.

    Attributes
    ----------
    champion, challenger
        Their versions.
    series, rows
        How many series, and steps of them, both forecast and have come true.
    champion_mase, challenger_mase
        Mean over series of the absolute error of the median in units of the series' scale.
    low, high
        Of their difference, challenger less champion, by the paired bootstrap over series.
    """

    champion: int
    challenger: int
    series: int
    rows: int
    champion_mase: float
    challenger_mase: float
    low: float
    high: float

    @property
    def line(self) -> str:
        """One sentence for a person."""
        verdict = "no difference that luck does not explain"
        if self.series > 1 and self.high < 0:
            verdict = "the challenger is better"
        elif self.series > 1 and self.low > 0:
            verdict = "the champion is better"
        return (
            f"challenger {self.challenger} beside champion {self.champion}: MASE "
            f"{self.challenger_mase:.3f} against {self.champion_mase:.3f} on {self.rows:,} steps "
            f"of {self.series:,} series that both forecast; the difference lies between "
            f"{self.low:+.3f} and {self.high:+.3f} ({LEVEL:.0%}): {verdict}"
        )

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def folder_of(model: str) -> Path:
    """Where the service on this machine keeps what both said."""
    return home() / FOLDER / quote(model, safe="")


def read_compared(folder: Path, say: Say) -> pd.DataFrame:
    """What both versions said: ``champion, challenger`` (versions), ``unique_id, cutoff, step, ds,
    champion_median, challenger_median``.

    Where the same was kept twice the later line counts. Lines that were cut off are left out, and
    said. Empty where nothing was kept.

    Raises
    ------
    DataError
        A file that cannot be read, or holds something else.
    """
    rows: list[tuple[Any, ...]] = []
    cut = 0
    for file in sorted(folder.glob("*.jsonl")):
        try:
            lines = file.read_bytes().splitlines()
        except OSError as error:
            raise DataError(f"cannot read {file}: {error}") from error
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
            except ValueError:
                cut += 1
                continue
            try:
                rows += _rows(record)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{file}, line {number} is nothing that `gatecast serve --shadow` keeps: "
                    f"{type(error).__name__} {error}; remove the file"
                ) from error
    if cut:
        say(f"{cut:,} line{'s' * (cut > 1)} below {folder} cut off, and left out")
    names = [*ONCE, "ds", "champion_median", "challenger_median"]
    return pd.DataFrame(rows, columns=names).drop_duplicates(ONCE, keep="last", ignore_index=True)


def _rows(told: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    answers = [told[name] for name in PAIR]
    versions = [int(one["version"]) for one in answers]
    medians = [one["quantiles"]["0.5"] for one in answers]
    for step, (ds, one, other) in enumerate(zip(told["ds"], *medians, strict=True), 1):
        yield *versions, str(told["unique_id"]), told["cutoff"], step, ds, float(one), float(other)


def rivalries(compared: pd.DataFrame, panel: Panel, season: int) -> list[Rivalry]:
    """Each pair of versions on the steps that have come true, the newest challenger first.

    Stamps of another kind than the data's, with a zone or without, are left out.
    """
    compared = compared[_like(compared["ds"], panel)]
    pairs = []
    for pair, rows in compared.groupby(PAIR):
        champion, challenger = (int(version) for version in np.asarray(pair))
        scores = _errors(rows.reset_index(drop=True), panel, season)
        if scores.empty:
            continue
        by_series = scores.groupby("unique_id")[PAIR].mean()
        one, other = (by_series[name].to_numpy() for name in PAIR)
        _, low, high = paired_bootstrap(other, one, level=LEVEL)
        pairs.append(
            Rivalry(
                champion=champion,
                challenger=challenger,
                series=len(by_series),
                rows=len(scores),
                champion_mase=float(one.mean()),
                challenger_mase=float(other.mean()),
                low=low,
                high=high,
            )
        )
    return sorted(pairs, key=lambda r: (r.challenger, r.champion), reverse=True)


def _errors(rows: pd.DataFrame, panel: Panel, season: int) -> pd.DataFrame:
    """Scaled absolute errors of both, of the rows that have come true."""
    scored = [
        join(
            rows.assign(version=rows[name], **{"q0.5": rows[f"{name}_median"]}), panel, season
        ).rows.set_index(["unique_id", "cutoff", "step"])["scaled"]
        for name in PAIR
    ]
    return pd.concat(scored, axis=1, keys=PAIR, join="inner").dropna().reset_index()


def _like(stamps: pd.Series, panel: Panel) -> Any:
    """[R] which stamps are of the data's kind."""
    numbers = np.array([isinstance(stamp, int) for stamp in stamps], bool)
    if panel.freq.integer:
        return numbers
    zoned = stamps.astype(str).str.contains(r"(?:[+-]\d\d:\d\d|Z)$").to_numpy(bool)
    return ~numbers & (zoned == (panel.tz is not None))
