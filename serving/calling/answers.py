"""What a client is answered: tables and facts of the service's bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pandas as pd

from forecasting.data.calendar import Frequency
from forecasting.prediction.odd import WORDS
from forecasting.quantiles import column_of


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of the series that could be forecast.

    Attributes
    ----------
    frame : ``unique_id, ds, mean, q<level>…``. model : name, version and run id.
    errors : the other series: ``id, code, detail, where``.
    notes : what to know of single series, such as a category that training never saw.
    together : what was asked of all series together: ``joint``, ``aggregates``, ``hierarchy``.
    paths : ``unique_id, ds, path, y``, where paths were asked for.
    canary : which series another version answered than ``model``, where the service has a canary.
    """

    frame: pd.DataFrame
    model: dict[str, Any]
    errors: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    together: dict[str, Any] = field(default_factory=dict)
    paths: pd.DataFrame | None = None
    canary: dict[str, Any] | None = None


@dataclass(frozen=True)
class Scenarios:
    """Forecasts in scenarios, of the series that could be forecast.

    Attributes
    ----------
    table : ``scenario, unique_id, ds, mean, q<level>…``. differences : the same less those of the
        base, and ``median``. totals : differences over all steps, without ``ds``.
    base : the scenario that others are compared with. errors, model : as `Forecasts` has them.
    notes : what to know of a series, or of a ``scenario``.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    totals: pd.DataFrame
    base: str
    model: dict[str, Any]
    errors: list[dict[str, Any]]
    notes: list[dict[str, Any]]


def said_of_notes(notes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each code: the first series that is noted so, and how many are."""
    sentences = []
    for code in dict.fromkeys(note["code"] for note in notes):
        alike = [note for note in notes if note["code"] == code]
        where, more = alike[0]["where"], f" ({len(alike):,} notes are so)" if alike[1:] else ""
        sentence = WORDS[code].format(**where) if code in WORDS else f"{code} ({_listed(where)})"
        sentences.append(f"series {alike[0]['id']!r}: {sentence}{more}")
    return sentences


def _listed(where: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in where.items())


def read_scenarios(answer: dict[str, Any], zone: str | None) -> Scenarios:
    """What ``POST /v1/scenarios`` answered, its stamps in a ``zone`` where the series have one."""
    tables, differences, totals, notes = [], [], [], list[dict[str, Any]]()
    for scenario in answer["scenarios"]:
        name = scenario["name"]
        notes += [{"scenario": name, **note} for note in scenario.get("notes", [])]
        for one in scenario["forecasts"]:
            key = {"scenario": name, "unique_id": one["id"]}
            notes += [{"id": one["id"], **note} for note in one.get("notes", [])]
            stamps = {**key, "ds": one["ds"]}
            tables.append(pd.DataFrame({**stamps, "mean": one["mean"], **by_level(one)}))
            moved = one.get("difference")
            if moved is not None:
                moves = {"mean": moved["mean"], "median": moved["median"], **by_level(moved)}
                differences.append(pd.DataFrame({**stamps, **moves}))
                total = moved["total"]
                totals.append({**key, "mean": total["mean"], **by_level(total)})
    return Scenarios(
        table=stamped(tables, zone),
        differences=stamped(differences, zone),
        totals=pd.DataFrame(totals),
        base=answer["base"],
        model=answer["model"],
        errors=answer["errors"],
        notes=notes,
    )


def by_level(told: dict[str, Any]) -> dict[str, Any]:
    """Columns ``q<level>`` of one series' quantiles, whose keys are levels as text."""
    return {column_of(float(level)): values for level, values in told["quantiles"].items()}


def stamped(frames: list[pd.DataFrame], zone: str | None) -> pd.DataFrame:
    """One table of several, its ``ds`` read from text into a ``zone``; plain steps stay."""
    if not frames:
        return pd.DataFrame()
    whole = pd.concat(frames, ignore_index=True)
    if whole["ds"].dtype.kind not in "iu":
        read = pd.to_datetime(whole["ds"], utc=zone is not None, format="ISO8601")
        whole["ds"] = read if zone is None else read.dt.tz_convert(zone)
    return whole


def read_forecasts(content: bytes) -> Forecasts:
    """What ``POST /v1/forecast`` answered in Arrow."""
    import pyarrow as pa

    with pa.ipc.open_stream(content) as reader:
        table = reader.read_all()
    about = orjson.loads(table.schema.metadata[b"gatecast"])
    freq, steps = Frequency.parse(about["freq"]), int(about["horizon"])
    zone = about["tz"]
    start = table.column("start").combine_chunks()
    if not freq.integer:
        start = start.cast(pa.int64())
    first = start.to_numpy(zero_copy_only=False)
    if not freq.integer:
        first = first.astype("datetime64[us]")
    ds: Any = freq.stamps(first, 0, steps).ravel()
    if "ds" in table.column_names:
        ds = table.column("ds").combine_chunks().flatten().to_numpy()
    if zone is not None and not freq.integer:
        index = pd.DatetimeIndex(ds)
        ds = (
            index.tz_localize("UTC").tz_convert(zone)
            if freq.sub_daily
            else index.tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
        )
    columns: dict[str, Any] = {
        "unique_id": np.repeat(np.array(table.column("id").to_pylist(), dtype=object), steps),
        "ds": ds,
    }
    for name in table.column_names:
        if name not in ("id", "start", "ds", "paths"):
            columns[name] = table.column(name).combine_chunks().flatten().to_numpy()
    return Forecasts(
        frame=pd.DataFrame(columns),
        model=about["model"],
        errors=about["errors"],
        notes=about.get("notes", []),
        together={k: about[k] for k in ("joint", "aggregates", "hierarchy") if k in about},
        paths=_paths(table, columns, steps) if "paths" in table.column_names else None,
        canary=about.get("canary"),
    )


def _paths(table: Any, columns: dict[str, Any], steps: int) -> pd.DataFrame:
    values = table.column("paths").combine_chunks().flatten().to_numpy()
    count = table.num_rows
    paths = len(values) // max(count * steps, 1)
    # Each path goes over the steps of its series, whose stamps come again for the next one.
    place = np.arange(count * steps).reshape(count, 1, steps).repeat(paths, axis=1).ravel()
    return pd.DataFrame(
        {
            "unique_id": columns["unique_id"][place],
            "ds": columns["ds"][place],
            "path": np.tile(np.repeat(np.arange(1, paths + 1), steps), count),
            "y": values,
        }
    )
