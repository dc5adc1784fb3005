"""What the service says of its models: what they expect, how good they were, and their origin."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.prediction.example import example_panel
from forecasting.quantiles import ASKED
from forecasting.schema import Covariate
from forecasting.zero.constants import LEVELS as TRAINED_LEVELS
from serving.models.keeper import Keeper, Loaded
from serving.models.pretrained import NAME as PRETRAINED
from serving.models.pretrained import Included, Pretrained

MAX_CATEGORIES = 50
EXAMPLE_SEASONS = 3
EXAMPLE_ROWS = 48


def summary(keeper: Keeper | Included, default: str) -> dict[str, Any]:
    """One line of the list of models."""
    loaded = keeper.current
    line: dict[str, Any] = {
        "name": keeper.name,
        "default": keeper.name == default,
        "ready": loaded is not None,
    }
    if loaded is not None:
        line |= {
            "version": loaded.version.number,
            "run_id": loaded.version.run_id,
            "horizon": loaded.spec.horizon,
            "freq": loaded.spec.freq.alias,
        }
        if isinstance(loaded, Pretrained):
            line |= {"freq": None, "kind": "pretrained"}
    if keeper.problem is not None:
        line["problem"] = keeper.problem
    return line


def describe(keeper: Keeper | Included, default: str) -> dict[str, Any]:
    """All there is to know of a model, with a request that works when posted."""
    content = summary(keeper, default)
    loaded = keeper.current
    if loaded is None:
        return content
    if isinstance(loaded, Pretrained):
        return content | _pretrained(loaded)
    tags, manifest = loaded.version.tags, loaded.manifest
    content |= {
        "alias": keeper.settings.alias,
        "season": loaded.predictor.config.season,
        "context": loaded.predictor.context,
        "cell": loaded.predictor.config.model.cell,
        "members": manifest.get("members", {}).get("count"),
        "trained_levels": list(loaded.predictor.config.model.quantile_levels),
        "stamps": "integer" if loaded.spec.freq.integer else "ISO 8601",
        "covariates": [_covariate(c) for c in loaded.spec.schema.covariates],
        "scores": _scores(tags, manifest),
        "lineage": {
            "run_id": loaded.version.run_id,
            "data_hash": tags.get("data_hash"),
            "config_hash": tags.get("config_hash"),
            "git_commit": tags.get("git_commit"),
            "bundle_sha256": loaded.version.digest,
            "created": manifest.get("created"),
        },
        "loaded": datetime.fromtimestamp(loaded.loaded_at, UTC).isoformat(timespec="seconds"),
        "example": example(loaded),
    }
    return content


def _pretrained(loaded: Pretrained) -> dict[str, Any]:
    """What there is to know of the network that comes with Gatecast."""
    card = loaded.zero.card
    return {
        "about": card.get("about", {}).get("what"),
        "season": None,
        "stamps": "integer, or ISO 8601 and freq",
        "covariates": [],
        "needs": ["freq", "horizon"],
        "trained_levels": list(TRAINED_LEVELS),
        "read": sorted(card.get("read", {})),
        "lineage": {
            "bundle_sha256": card.get("sha256"),
            "parameters": card.get("parameters"),
            "steps": card.get("steps"),
        },
        "loaded": datetime.fromtimestamp(loaded.loaded_at, UTC).isoformat(timespec="seconds"),
        "example": example(loaded),
    }


def _pretrained_example() -> dict[str, Any]:
    months = np.arange(EXAMPLE_ROWS)
    y = np.round(100 + months + 20 * np.sin(2 * np.pi * months / 12), 2)
    return {
        "model": PRETRAINED,
        "freq": "MS",
        "series": [{"id": "example-1", "start": "2022-01-01", "y": y.tolist()}],
        "horizon": 12,
        "quantiles": list(ASKED),
    }


def example(loaded: Loaded | Pretrained) -> dict[str, Any]:
    """A body for ``POST /v1/forecast``."""
    if isinstance(loaded, Pretrained):
        return _pretrained_example()
    season = max(loaded.predictor.config.season or 1, 1)
    rows = max(2, min(EXAMPLE_SEASONS * season, EXAMPLE_ROWS))
    panel = example_panel(loaded.predictor, 1, rows)
    schema = loaded.spec.schema
    start = panel.start[0]
    series: dict[str, Any] = {
        "id": "example-1",
        "start": int(start) if loaded.spec.freq.integer else str(start.astype("datetime64[s]")),
        "y": np.round(panel.y, 2).tolist(),
    }
    if schema.past:
        series["past"] = {c.name: _values(panel.past[:, j], c) for j, c in enumerate(schema.past)}
    if schema.future and panel.horizon is not None:
        ahead = panel.horizon[0]
        series["future"] = {c.name: _values(ahead[:, j], c) for j, c in enumerate(schema.future)}
    if schema.static:
        row = panel.static[0]
        series["static"] = {
            c.name: _values(row[j : j + 1], c)[0] for j, c in enumerate(schema.static)
        }
    return {
        "model": loaded.origin.name,
        "series": [series],
        "horizon": loaded.spec.horizon,
        "quantiles": list(ASKED),
    }


def _values(column: Array, covariate: Covariate) -> list[Any]:
    if covariate.type == "real":
        # A mean has seventeen digits, of which an example needs a few.
        return [None if v != v else float(f"{v:.6g}") for v in column.tolist()]
    names = (None, *covariate.categories)
    return [names[int(code)] for code in np.nan_to_num(column).tolist()]


def _covariate(covariate: Covariate) -> dict[str, Any]:
    line: dict[str, Any] = {
        "name": covariate.name,
        "role": covariate.role,
        "type": covariate.type,
        "required": covariate.role != "static",
    }
    if covariate.type == "categorical":
        line["categories"] = list(covariate.categories[:MAX_CATEGORIES])
        line["categories_in_all"] = len(covariate.categories)
    return line


def _scores(tags: dict[str, str], manifest: dict[str, Any]) -> Any:
    try:
        return json.loads(tags["scores"])
    except (KeyError, ValueError):
        return manifest.get("metrics") or {}
