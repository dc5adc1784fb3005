"""Networks forecast by what training showed them, and training reads what prediction reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from forecasting import Forecaster
from forecasting.data.panel import Panel
from forecasting.networks import ForecastNetwork
from forecasting.networks.output import tensors_of
from forecasting.schema import Covariate, Schema
from forecasting.training import module as training
from forecasting.training.losses import counted, targets
from forecasting.training.module import ForecastModule, drawn_origins, read_as_predicted
from forecasting.training.schemas import fitted_schema
from forecasting.windows.prediction import assemble
from forecasting.windows.training import Windows
from tests.forecasting.samples import MIXES, make_panel, settings

QUICK = {
    "model": {"hidden_size": 4, "layers": 1, "calendar": False},
    "training": {"max_steps": 2, "start": "none", "threads": 1},
}


def table(name: str, rows: int, first: str = "2020-01-01", freq: str = "D") -> pd.DataFrame:
    stamps = pd.date_range(first, periods=rows, freq=freq)
    return pd.DataFrame({"unique_id": name, "ds": stamps, "y": 10 + np.sin(np.arange(rows))})


@pytest.mark.parametrize("encoding", ["onehot", "embedding"])
@pytest.mark.parametrize("unseen", [0.0, 0.1])
def test_a_category_never_shown_is_one_never_heard_of(encoding: str, unseen: float) -> None:
    """The static table names a region that no series of the training has."""
    df = pd.concat([table("a", 60), table("b", 60)])
    regions = pd.DataFrame({"unique_id": ["a", "b", "c"], "region": ["n", "s", "w"]})
    config = {
        "model": {**QUICK["model"], "encoding": encoding},
        "training": {**QUICK["training"], "unseen": unseen},
    }
    fitted = Forecaster.fit(df, horizon=3, static=regions, config=config, device="cpu")
    (region,) = fitted.schema.static
    assert region.categories == ("n", "s")
    asked = table("c", 60)
    known, new = (
        fitted.predict(asked, static=pd.DataFrame({"unique_id": ["c"], "region": [name]}))
        for name in ("w", "never heard of")
    )
    pd.testing.assert_frame_equal(known, new)


def test_without_hidden_categories_code_0_weighs_nothing() -> None:
    region = Covariate(
        name="r", role="static", type="categorical", encoding="onehot", categories=("n", "s")
    )
    config = settings(training={"unseen": 0.0})
    network = ForecastNetwork(config, Schema(covariates=(region,)), 0)
    assert network.static is not None
    codes = torch.tensor([[0.0], [1.0], [2.0]])
    features = network.static(codes, torch.ones_like(codes))
    assert features[0].abs().sum() == 0.0
    assert features[1:].sum() == 2.0


def test_categories_of_rows_that_no_window_reads_are_not_shown() -> None:
    df = table("a", 40).assign(kind=["x"] * 39 + ["last"])
    past = fitted_schema(Panel.from_frame(df, past=["kind"])).past
    assert past[0].categories == ("x",)
    future = fitted_schema(Panel.from_frame(df, future=["kind"])).future
    assert future[0].categories == ("last", "x")


def test_a_decoder_behind_an_encoder_of_both_ways_sees_no_later_covariates() -> None:
    promo = Covariate(name="promo", role="future", mean=0.5, std=0.5)
    config = settings(
        horizon=4, model={"decoder": "encoder_decoder", "bidirectional": True, "hidden_size": 8},
        training={"origins": "last"},
    )  # fmt: skip
    torch.manual_seed(1)
    network = ForecastNetwork(config, Schema(covariates=(promo,)), 0).eval()
    df = table("a", 40).assign(promo=np.arange(40) % 2.0)
    panel = Panel.from_frame(df, schema=Schema(covariates=(promo,)), freq="D")
    ahead = np.array([[[0.0], [1.0], [0.0], [1.0]]])
    for step in range(1, 4):
        other = ahead.copy()
        other[:, step:] = 1.0 - other[:, step:]
        found = []
        for given in (ahead, other):
            batch, _, _ = assemble(replace(panel, horizon=given), config, config.model.steps or 1)
            found.append(network(tensors_of(batch)).params.detach())
        torch.testing.assert_close(found[0][:, :, :step], found[1][:, :, :step])
        assert not torch.equal(found[0][:, :, step:], found[1][:, :, step:])


@pytest.mark.parametrize("decoder", ["direct", "encoder_decoder"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_loss_at_the_last_origin_reads_what_prediction_reads(
    decoder: str, bidirectional: bool
) -> None:
    """Window by window, as many recurrent steps as the series fills up to there."""
    config = settings(
        model={"decoder": decoder, "bidirectional": bidirectional, "hidden_size": 8,
               "spread": "none", "level": "last"},
        training={"origins": "last"},
    )  # fmt: skip
    torch.manual_seed(2)
    network = ForecastNetwork(config, Schema(), 0).eval()
    panel = Panel.from_frame(pd.concat([table("a", 9), table("b", 25), table("c", 90)]), freq="D")
    windows = Windows(panel, config, torch.device("cpu"))
    series, origins = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([4, 11, 80, 1, 20])
    batch = windows.gather(series, origins)
    with torch.no_grad():
        got = read_as_predicted(network, network.history(batch))
    for k, (of, origin) in enumerate(zip(series.tolist(), origins.tolist(), strict=True)):
        one = windows.gather(series[k : k + 1], origins[k : k + 1])
        steps = min(-(-(origin + 1) // network.geometry.segment), network.geometry.steps)
        rows = network.geometry.length(steps)
        seen = network.history(one)
        y, mask = seen["y"][:, -rows:], seen["mask"][:, -rows:]
        with torch.no_grad():
            alone = network({**seen, "y": y, "mask": mask})
        torch.testing.assert_close(got.params[k], alone.params[0])
        torch.testing.assert_close(got.level[k], alone.level[0])
        del of


def test_rows_before_the_first_value_are_no_history() -> None:
    short = table("a", 30, first="2020-03-01")
    before = table("a", 60).assign(y=np.nan)
    late = pd.concat([before[before["ds"] < short["ds"].iloc[0]], short])
    fitted = [Forecaster.fit(df, horizon=3, config=QUICK, device="cpu") for df in (short, late)]
    assert fitted[0].config == fitted[1].config
    for df in (short, late):
        pd.testing.assert_frame_equal(fitted[0].predict(df), fitted[1].predict(short))
    panel = Panel.from_frame(late)
    assert panel.begun().lengths.tolist() == [30]
    assert panel.begun().start[0] == np.datetime64("2020-03-01")
    empty = Panel.from_frame(before)
    assert empty.begun() is empty


@pytest.mark.parametrize("day", [28, 29, 30, 31])
@pytest.mark.parametrize("first", ["2021-01", "2021-02", "2020-02", "2021-04"])
def test_months_keep_their_day_through_february(day: int, first: str) -> None:
    months = [pd.Period(first, "M") + k for k in range(40)]
    stamps = [pd.Timestamp(m.year, m.month, min(day, m.days_in_month)) for m in months]
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": stamps[:36], "y": 1.0}))
    if day == 31 and first == "2021-04":
        assert panel.freq.end
    for kept in range(2, 37):
        tail = panel.tail(kept)
        assert list(tail.to_frame()["ds"]) == stamps[36 - kept : 36]
        ahead = tail.freq.stamps(tail.start, tail.lengths, 4)[0]
        assert list(pd.DatetimeIndex(ahead)) == stamps[36:]


@pytest.mark.parametrize("most", [1, 2])
def test_the_loss_of_drawn_origins_is_on_average_that_of_all(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evenly spaced origins from every place they can begin at: their mean is the whole."""
    monkeypatch.setattr(training, "EVERY_ORIGIN_UP_TO", most)
    panel = make_panel([60, 9, 30], schema=MIXES["all"])
    config = settings()
    steps = config.model.steps
    windows = Windows(panel, config, torch.device("cpu"))
    module = ForecastModule(config, panel.schema, windows.calendar).eval()
    assert module.drawn == max(round(steps * most / config.horizon), 1) < steps
    batch = windows.draw(16, torch.Generator().manual_seed(0))
    parameters = [p for p in module.network.parameters() if p.requires_grad]

    def with_gradients(loss: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [loss.detach(), *(g for g in found if g is not None)]

    whole = with_gradients(module.loss_of(batch))
    found = []
    for place in range(steps):
        at = torch.tensor((place + 0.5) / steps)
        monkeypatch.setattr(torch, "rand", lambda *_, at=at, **__: at)
        seen = module.network.history(batch)
        found.append(with_gradients(module._loss(seen, batch)))
    for expected, *drawn in zip(whole, *found, strict=True):
        mean = torch.stack(drawn).mean(0)
        torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-6)


def test_short_horizons_and_decoders_that_take_states_draw_no_origins() -> None:
    for decoder in ("direct", "encoder_decoder", "recursive"):
        config = settings(model={"decoder": decoder})
        network = ForecastNetwork(config, Schema(), 0)
        assert drawn_origins(config, network) == config.model.steps


def test_targets_are_counted_without_making_them() -> None:
    config = settings()
    windows = Windows(make_panel([60, 9, 30]), config, torch.device("cpu"))
    batch = windows.draw(16, torch.Generator().manual_seed(0))
    network = ForecastNetwork(config, Schema(), windows.calendar)
    output = network(network.history(batch), every_origin=True)
    _, weight = targets(output, batch, network.geometry)
    steps = config.model.steps
    assert counted(steps, config.horizon, batch, network.geometry) == weight.sum()
