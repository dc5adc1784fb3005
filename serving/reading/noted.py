"""What a caller should know of series that are answered: notes, by their place in a request."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecasting.data.panel import Panel
from forecasting.prediction.checks import beyond_training
from forecasting.prediction.odd import odd_histories
from serving.reading.query import Query, Spec


def note_unfamiliar(query: Query, spec: Spec) -> None:
    """Notes of what training never saw: one for each series and column, with its first value.

    Static values that are left out; categories that are none of the schema's, and numbers far
    beyond the range they had there; histories that are not what they seem; steps whose covariates
    are filled, and those beyond the calendar's last day. Asked before any series is left out.
    """
    schema, ahead = spec.schema, query.options.horizon
    _note_static(query, spec)
    _note_histories(query, spec)
    _note_filled(query, spec)
    _note_beyond_days(query, spec)
    for role, block, more in (("past", query.past, 0), ("future", query.future, ahead)):
        for covariate in schema.role(role):
            values = block.get(covariate.name)
            if values is None:
                continue
            if covariate.type == "categorical":
                known, code = {None, *covariate.categories}, "unseen_category"
                if known.issuperset(values):
                    continue
                off = np.array([value not in known for value in values], bool)
            else:
                off, code = beyond_training(values, covariate), "outside_training"
            rows = np.flatnonzero(off)
            ends = np.cumsum(query.sizes + more)
            series, first = np.unique(np.searchsorted(ends, rows, side="right"), return_index=True)
            for i, row in zip(series.tolist(), rows[first].tolist(), strict=True):
                value = values[row] if covariate.type == "categorical" else float(values[row])
                note = {"code": code, "where": {"column": covariate.name, "value": value}}
                query.notes.setdefault(int(query.position[i]), []).append(note)


def _note_static(query: Query, spec: Spec) -> None:
    """Notes of static values that are left out, or of a category that training never saw."""
    for covariate in spec.schema.static:
        values, where = query.static.get(covariate.name), {"column": covariate.name}
        if values is None:
            # A form of columns may leave one out.
            off = np.ones(len(query.position), bool)
        elif covariate.type == "categorical":
            known = set(covariate.categories)
            off = np.array([value not in known for value in values], bool)
        else:
            off = np.isnan(values)
        for i in np.flatnonzero(off).tolist():
            value = None if values is None or covariate.type == "real" else values[i]
            note: dict[str, Any] = {"code": "missing_static", "where": where}
            if value is not None:
                note = {"code": "unseen_category", "where": {**where, "value": value}}
            query.notes.setdefault(int(query.position[i]), []).append(note)


def _note_filled(query: Query, spec: Spec) -> None:
    """A note for each series and column that lacks values ahead which the model fills."""
    if not spec.ahead:
        return
    steps = query.options.horizon
    ends = np.cumsum(query.sizes + steps)
    place = ends[:, None] - steps + np.arange(steps)
    for name, way in spec.ahead.items():
        values = query.future.get(name)
        if values is None:
            continue
        column = np.asarray(values)
        named = column.dtype == object
        lacking = np.array([v is None for v in values]) if named else np.isnan(column)
        count = lacking[place].sum(axis=1)
        for i in np.flatnonzero(count).tolist():
            where = {"column": name, "steps": int(count[i]), "fill": way}
            note = {"code": "filled_ahead", "where": where}
            query.notes.setdefault(int(query.position[i]), []).append(note)


def _note_beyond_days(query: Query, spec: Spec) -> None:
    """A note for each series whose forecast reaches beyond the last day of the calendar."""
    if spec.days_until is None or not len(query.sizes):
        return
    end = spec.freq.shift(query.start, query.sizes - 1 + query.options.horizon)
    late = end.astype("datetime64[D]") > np.datetime64(spec.days_until)
    for i in np.flatnonzero(late).tolist():
        note = {"code": "beyond_calendar", "where": {"known_until": spec.days_until}}
        query.notes.setdefault(int(query.position[i]), []).append(note)


def _note_histories(query: Query, spec: Spec) -> None:
    """A note for each series and kind of finding in its history; see `odd_histories`."""
    if not spec.looked_at or not len(query.y):
        return
    count, rows = len(query.sizes), len(query.y)
    panel = Panel(
        ids=query.position,
        offsets=np.concatenate([[0], np.cumsum(query.sizes)]),
        y=query.y,
        start=query.start,
        freq=spec.freq,
        tz=query.tz,
        # Only whether something is known ahead is looked at.
        schema=spec.schema,
        past=np.empty((rows, 0)),
        future=np.empty((rows, 0)),
        horizon=None,
        static=np.empty((count, 0)),
    )
    for odd in odd_histories(panel.tail(spec.looked_at), spec.config):
        note = {"code": odd.code, "where": odd.where}
        query.notes.setdefault(int(query.position[odd.series]), []).append(note)
