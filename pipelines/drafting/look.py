"""What a table holds, looked at before anything is known of it: series, step, season, gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.seasons import Season, seasons_in
from forecasting.errors import DataError
from forecasting.masking import masked
from pipelines.drafting.candidates import Candidate, candidates
from pipelines.ingestion import DataConfig, IngestResult, MappingError, ingest
from pipelines.ingestion.read.proposal import short

ROUNDS = 4  # proposals that are followed: a header's, then a column's
# Steps to forecast, by the season that the stamps say: weeks and days look further than one of
# theirs, weeks of a year not as far.
HORIZONS = {4: 4, 7: 14, 12: 12, 24: 24, 48: 48, 52: 8, 96: 96}
OTHERWISE = 8
LONGEST = 96
ORIGINS = 3
# Of the typical series, the share that all origins and the horizon before them may take.
SPARED = 0.6
MANY_ZEROS = 0.1


@dataclass(frozen=True)
class Look:
    """What was seen in a table.

    Attributes
    ----------
    roles : the settings below ``data`` that were needed to read it, beside ``source``.
    guessed : what was taken for sure enough, a line for each round of doubt.
    horizon, origins : steps to forecast and past cutoffs that its history allows.
    ahead : rows after the last value of y that carry covariates, in the shortest such series.
    """

    source: str
    roles: dict[str, Any]
    result: IngestResult
    guessed: list[str]
    seasons: tuple[Season, ...]
    horizon: int
    origins: int
    ahead: int
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def lengths(self) -> Array:
        """[N] rows of each series up to its last value."""
        return history_lengths(self.result)

    @property
    def counts(self) -> bool:
        """Whether the values are whole numbers from 0 up, many of them 0."""
        y = self.result.clean.y[np.isfinite(self.result.clean.y)]
        whole = len(y) > 0 and bool(((y >= 0) & (y == np.floor(y))).all())
        return whole and float((y == 0).mean()) > MANY_ZEROS

    def facts(self) -> dict[str, Any]:
        """What was seen, as plain values."""
        clean = self.result.clean
        report = self.result.report.to_dict()
        lengths = self.lengths
        return {
            "source": report["source"],
            "series": len(clean.ids),
            "rows": len(clean.y),
            "shortest": int(lengths.min()) if len(lengths) else 0,
            "longest": int(lengths.max(initial=0)),
            "frequency": clean.freq.alias,
            "season": {
                "stamps": list(clean.freq.seasons),
                "values": [s.period for s in self.seasons],
            },
            "missing": int(np.isnan(clean.y).sum()),
            "gaps": sum(f["count"] for f in report["findings"] if f["code"] == "gap"),
            "findings": [
                {key: f[key] for key in ("code", "action", "count", "detail")}
                for f in report["findings"]
            ],
            "roles": {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in self.roles.items()
            },
            "covariates": [c.facts() for c in self.candidates],
            "horizon": self.horizon,
        }


def look_at(source: str, given: dict[str, Any], horizon: int | None = None) -> Look:
    """Look at a table.

    Parameters
    ----------
    given : settings below ``data`` that are known already.
    horizon : steps to forecast, where that is known.

    Raises
    ------
    DataError : the table cannot be read, or is too short; with what to do.
    """
    roles, guessed = dict(given), []
    for _ in range(ROUNDS):
        try:
            result = ingest(DataConfig.parse({**roles, "source": source}, at="data"))
            break
        except MappingError as doubt:
            new = _followed(doubt, roles)
            guessed.append(str(doubt))
            roles = {**roles, **new}
    else:
        raise DataError(f"{masked(source)} leaves too much open; say more with --set data.…")
    config = result.config
    settled = {"id": config.id, "ds": config.ds, "y": config.y}
    if config.layout == "long":
        plain = {k: short(v) if isinstance(v, tuple) else v for k, v in settled.items()}
        roles = {k: v for k, v in plain.items() if v is not None} | roles
    columns = candidates(result, source, roles)
    ahead = min((c.ahead for c in columns if c.role == "future"), default=0)
    steps, origins = _extent(result, horizon, ahead)
    clean = result.clean
    return Look(
        source=source,
        roles=roles,
        result=result,
        guessed=guessed,
        seasons=seasons_in(clean.y, clean.offsets),
        horizon=steps,
        origins=origins,
        ahead=ahead,
        candidates=columns,
    )


def history_lengths(result: IngestResult) -> Array:
    """[N] rows up to the last value of y."""
    clean = result.clean
    positions = np.flatnonzero(~np.isnan(clean.y))
    last = np.searchsorted(positions, clean.offsets[1:]) - 1
    inside = last >= np.searchsorted(positions, clean.offsets[:-1])
    ends = positions[np.maximum(last, 0)] + 1 if len(positions) else np.zeros(len(last), np.int64)
    return np.where(inside, ends - clean.offsets[:-1], 0)


def _followed(doubt: MappingError, roles: dict[str, Any]) -> dict[str, Any]:
    """The proposal of a doubt, where it says something new that can be used."""
    new = dict(doubt.roles)
    if not doubt.usable or all(roles.get(key) == value for key, value in new.items()):
        raise doubt
    if new.get("series") == "name":
        new["series"] = "series"
    return new


def _extent(result: IngestResult, horizon: int | None, ahead: int) -> tuple[int, int]:
    """Steps to forecast, and origins that leave enough of the history to learn from."""
    lengths = history_lengths(result)
    trainable = lengths[result.trainable] if result.trainable.any() else lengths
    longest, typical = int(trainable.max(initial=0)), int(np.median(trainable))
    if horizon is None and ahead:
        horizon = min(ahead, LONGEST)
    if horizon is None:
        seasons = result.clean.freq.seasons
        usual = HORIZONS.get(seasons[0], OTHERWISE) if seasons else OTHERWISE
        horizon = max(1, min(usual, LONGEST, int(SPARED * typical) // (ORIGINS + 1)))
    for origins in range(ORIGINS, 0, -1):
        if horizon * (origins + 1) <= SPARED * typical or (
            origins == 1 and horizon * (origins + 1) < longest
        ):
            return horizon, origins
    raise DataError(
        f"{masked(str(result.config.source))}: the longest series has {longest} rows; a horizon of "
        f"{horizon} needs more than {2 * horizon}, of which the last are kept aside to judge by: "
        "bring longer histories, or a smaller --horizon"
    )
