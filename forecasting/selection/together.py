"""How errors at held-back origins go together: where what came lay in what was forecast."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.copula.dependence import Dependence
from forecasting.copula.learning import Scores, learn, scores_within
from forecasting.data.panel import Panel
from forecasting.quantiles import normal_scores
from forecasting.selection.held_back import Evidence, Origin, has_spread

# Forecasts that are looked at, about, and series and origins of them, at most.
ENOUGH = 3_000
MOST_SERIES = 300
MOST_ORIGINS = 24
# Categories of a static column that may go together: fewer say nothing, nor do single ones.
LEAST_CATEGORIES = 2
MOST_COLUMNS = 3


def dependence_of(
    evidence: Evidence, panel: Panel, correction: Array | None, rows: int
) -> Dependence | None:
    """What the networks of an evidence err by, from origins closer together than its own.

    Parameters
    ----------
    panel : of the evidence. correction : of the quantiles, [H, Q] in units of the spread.
    rows : that the networks have not seen, at the end of each series.

    Returns
    -------
    None where nothing is known of the steps ahead.
    """
    horizon, config = evidence.config.horizon, evidence.config
    if len(panel) > MOST_SERIES:
        panel = panel.select(np.linspace(0, len(panel) - 1, MOST_SERIES).astype(np.int64))
    count = int(np.clip(ENOUGH // max(len(panel), 1), 4, MOST_ORIGINS))
    backs = np.unique(np.linspace(rows, 1, min(count, rows)).astype(np.int64))[::-1]
    origins = Origin.each(panel, config, [int(back) for back in backs])
    closer = Evidence.of(evidence.networks, origins, config)
    columns = _columns(panel)
    levels = normal_scores(np.asarray(config.model.quantile_levels))
    blocks = []
    for number, origin in enumerate(closer.origins):
        quantiles = np.empty((len(origin.known), horizon, len(levels)))
        for index, reading in closer.readings[number]:
            quantiles[index] = reading.quantiles(config, correction, blend=config.model.blend)
        actual = config.model.y_transform.forward(origin.actual)
        values = scores_within(quantiles, actual, levels)
        values[~has_spread(origin.known, config)] = np.nan
        labels = {name: origin.known.static[:, place] for name, place in columns.items()}
        stamps = origin.known.last
        stamps = stamps if stamps.dtype.kind in "iu" else stamps.astype(np.int64)
        blocks.append(Scores(values, stamps, labels))
    if not any(np.isfinite(block.values).any() for block in blocks):
        return None
    return learn(blocks, config.season, rows / horizon)


def _columns(panel: Panel) -> dict[str, int]:
    """Static columns of categories that several series share, and their places."""
    places: dict[str, int] = {}
    for place, covariate in enumerate(panel.schema.static):
        if covariate.type != "categorical":
            continue
        codes = panel.static[:, place]
        number = len(np.unique(codes[codes > 0]))
        if LEAST_CATEGORIES <= number <= len(panel) // 2:
            places[covariate.name] = place
    return dict(list(places.items())[:MOST_COLUMNS])
