"""A summary says what is so, and lets nothing of a table into a page as it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from torch import nn

from forecasting.config import ForecasterConfig
from forecasting.schema import Covariate, Schema
from forecasting.views.summary import as_html, as_text, facts


class Network(nn.Module):
    def __init__(self, config: ForecasterConfig) -> None:
        super().__init__()
        self.config, self.layer = config, nn.Linear(3, 2)


@dataclass
class Ensemble:
    config: ForecasterConfig
    networks: list[Any]
    schema: Schema = field(default_factory=Schema)
    correction: Any = None
    context: int = 48
    swing: dict[str, float] = field(default_factory=dict)


def _ensemble(model: dict[str, Any] | None = None, cells: str = "gru", **more: Any) -> Any:
    values: dict[str, Any] = {"horizon": 12, "freq": "MS", "season": 12, "model": model or {}}
    values["training"] = {"start": "none"}
    config = ForecasterConfig.parse(values)
    networks = [Network(config.replace(model={"cell": cell})) for cell in cells.split()]
    return Ensemble(config, networks, **more)


def test_each_fact_is_told_under_its_title() -> None:
    swing = {"min": 0.8, "median": 0.85, "max": 0.9, "ensemble": 0.75, "start_none": 0.75}
    columns = [Covariate(name=f"c{k}", role="past") for k in range(8)]
    model = {"blend": 0.25, "pool": {"theta": 0.75, "drift": 0.25}, "hidden_size": 32, "layers": 1}
    ensemble = _ensemble(
        model, "gru lstm gru", swing=swing, schema=Schema(covariates=tuple(columns)), correction=1
    )
    told = dict(facts(ensemble, {"seconds": 63.2, "series": 1, "rows": 1440}))
    assert told == {
        "networks": "2 GRU, 1 LSTM, 1 layer of 32, 24 parameters in all",
        "forecasts": "12 steps of MS, quantiles 0.025 to 0.975",
        "looks back": "48 rows",
        "season": "12 rows",
        "covariates": "past: c0, c1, c2, c3, c4, c5 and 2 more",
        "classical": "25% of the median: theta 75%, drift 25%",
        "held back": "MASE 0.750, its networks alone 0.800 to 0.900",
        "began from": "none (MASE held back: none 0.750)",
        "intervals": "corrected by what was held back",
        "trained": "in 1 min 3 s on 1 series, 1,440 rows",
    }


def test_what_is_not_known_is_left_out() -> None:
    told = dict(facts(_ensemble(), {}))
    assert list(told) == ["networks", "forecasts", "looks back", "season", "intervals"]
    assert told["intervals"] == "as trained"


def test_lines_stand_below_each_other() -> None:
    text = as_text("Title", [("a", "one"), ("long", "two")])
    assert text.splitlines() == ["Title", "  a     one", "  long  two"]


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=a>', "a<b>&c"])
def test_names_of_columns_are_text_in_a_page(evil: str) -> None:
    schema = Schema(covariates=(Covariate(name=evil, role="past"),))
    page = as_html(evil, facts(_ensemble(schema=schema), {}))
    assert evil not in page
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("<tr>") == 6
