"""Weights in a network of other covariates: nothing changes until something new is learned."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.errors import TrainingError
from forecasting.forecaster import Forecaster
from forecasting.networks import ForecastNetwork
from forecasting.networks.transfer import transfer
from forecasting.resolved import Resolved
from forecasting.schema import Covariate, Schema
from tests.forecasting.samples import CELLS, MIXES, make_panel, quantiles, settings, untrained

ALL = MIXES["all"]


def moved(forecaster: Forecaster, schema: Schema) -> Forecaster:
    """The same forecaster under other covariates."""
    config = forecaster.config
    networks = []
    for old in forecaster.networks:
        new = ForecastNetwork(config, schema, old.calendar)
        transfer(old, new)
        networks.append(new.eval().requires_grad_(False))
    return Forecaster(config=config, schema=schema, networks=networks)


def wide(**model: object) -> Resolved:
    return settings(model={"decoder_size": 9, **model})


def without(name: str) -> Schema:
    return Schema(covariates=tuple(c for c in ALL.covariates if c.name != name))


@examples(max_examples=12, deadline=None)
@given(
    cell=st.sampled_from(CELLS),
    name=st.sampled_from(["temp", "kind", "promo", "holiday", "size", "region"]),
    options=st.sampled_from(
        [{}, {"embedding": True}, {"segment": 2, "window": 5}, {"decoder": "encoder_decoder"}]
    ),
    calendar=st.booleans(),
)
def test_a_covariate_that_is_new_changes_no_forecast(
    cell: str, name: str, options: dict[str, object], calendar: bool
) -> None:
    few = without(name)
    old = untrained(wide(cell=cell, calendar=calendar, **options), few)
    panel = make_panel([40, 23], schema=ALL)
    new = moved(old, ALL)
    torch.testing.assert_close(
        torch.as_tensor(quantiles(new, panel)),
        torch.as_tensor(quantiles(old, panel.under(few))),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("role", ["past", "future", "static"])
def test_a_new_category_is_read_as_an_unknown_one_and_the_others_as_before(role: str) -> None:
    old = untrained(wide(), MIXES[role])
    more = Schema(
        covariates=tuple(
            c.replace(categories=(*c.categories, "new")) if c.type == "categorical" else c
            for c in MIXES[role].covariates
        )
    )
    new = moved(old, more)
    known = make_panel([30, 30], schema=MIXES[role])
    with_new = make_panel([30, 30], schema=more)
    for panel in (known.under(more), with_new):
        assert quantiles(new, panel) == pytest.approx(
            quantiles(old, panel.under(MIXES[role])), rel=1e-5, abs=1e-5
        )


def test_a_covariate_that_is_gone_leaves_what_the_others_say() -> None:
    old = untrained(wide(), ALL)
    new = moved(old, without("temp"))
    panel = make_panel([30], schema=ALL)
    unknown = panel.past.copy()
    unknown[:, 0] = float("nan")
    blank = type(panel)(**{**panel.__dict__, "past": unknown})
    assert quantiles(new, panel.under(without("temp"))) == pytest.approx(
        quantiles(old, blank), rel=1e-5, abs=1e-5
    )


def test_the_first_covariate_known_ahead_asks_for_another_network() -> None:
    old = untrained(wide(), MIXES["past"])
    new = ForecastNetwork(wide(), ALL, 0)
    with pytest.raises(TrainingError, match="known ahead are there for the first time"):
        transfer(old.networks[0], new)


def test_a_covariate_that_became_a_category_begins_anew() -> None:
    old = untrained(wide(), MIXES["static"])
    other = Schema(
        covariates=(
            Covariate(name="size", role="static", type="categorical", categories=("1", "2")),
            MIXES["static"].covariates[1],
        )
    )
    (network,) = moved(old, other).networks
    assert network.static is not None
    size = network.static.tables["0"].weight.shape[1]
    weight = network.decoder.get_parameter("context.weight")
    hidden = network.config.model.hidden_size
    assert not weight[:, hidden : hidden + size].any()
