"""What a client sends means what the library reads, whatever day of a month a series begins on."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.prediction.predictor import Predictor
from serving.app import Application
from serving.calling.bodies import appended, begun_whole
from serving.client import Client
from tests.serving.conftest import KEY, stores
from tests.serving.test_client import Bridge


@pytest.fixture(scope="module")
def client(app: Application) -> Iterator[Client]:
    with Client("http://test", api_key=KEY, transport=Bridge(app)) as made:
        yield made


def series(name: str, month: str, rows: int, day: int, size: int = 1) -> pd.DataFrame:
    """Rows on a day of their months, or on the last of shorter ones."""
    months = pd.period_range(month, periods=rows * size, freq="M")[::size]
    ds = [pd.Timestamp(m.year, m.month, min(day, m.days_in_month)) for m in months]
    y = 100 + 10 * np.sin(np.arange(rows) / 2)
    return pd.DataFrame({"unique_id": name, "ds": ds, "y": y})


MEMBERS = st.tuples(
    st.sampled_from(["2019-02", "2020-02", "2021-02", "2021-04", "2021-01", "2021-05"]),
    st.integers(3, 20),
    st.sampled_from([1, 15, 28, 29, 30, 31]),
)


@given(members=st.lists(MEMBERS, min_size=1, max_size=3), rich=st.booleans())
def test_the_service_answers_as_the_library_on_every_day_of_the_month(
    client: Client, monthly: Predictor, retail: Predictor, members: list, rich: bool
) -> None:
    frame = pd.concat([series(f"store-{k}", *member) for k, member in enumerate(members)])
    model, own, options = "monthly", monthly, {}
    if rich:
        model, own = "retail", retail
        parts = [
            series(f"store-{k}", m, rows + 4, day).iloc[rows:] for k, (m, rows, day) in
            enumerate(members)
        ]  # fmt: skip
        frame = frame.assign(temp=9.0, promo=np.arange(len(frame)) % 2)
        plan = pd.concat(parts).drop(columns="y").assign(promo=1.0)
        options = {"future": plan, "static": stores()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = own.predict(frame, **options)
        except DataError as error:
            with pytest.raises(DataError, match=f"^{re.escape(str(error))}$"):
                client.forecast(frame, model=model, **options)
            return
        found = client.forecast(frame, model=model, **options)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-4)


@given(
    month=st.integers(0, 60).map(lambda k: str(pd.Period("2018-01", "M") + k)),
    rows=st.integers(1, 30),
    day=st.integers(28, 30),
    size=st.sampled_from([1, 2, 3, 6, 12, 24, 48]),
)
def test_a_start_that_a_short_month_cut_is_sent_on_its_day(
    month: str, rows: int, day: int, size: int
) -> None:
    frame = series("a", month, rows, day, size)
    try:
        panel = Panel.from_frame(frame, freq=f"{size}MS")
    except DataError:
        assume(False)
    sent = begun_whole(panel)
    more = int(sent.lengths[0] - panel.lengths[0])
    # What the service makes of the start alone.
    stamps = Panel.from_arrays(["a"], sent.y, sent.lengths, sent.start, f"{size}MS").to_frame()
    assert stamps["ds"].iloc[more:].to_list() == frame["ds"].to_list()
    assert np.isnan(sent.y[:more]).all()
    np.testing.assert_array_equal(sent.y[more:], panel.y)
    assert (more > 0) == (panel.freq.day > 0 and frame["ds"].iloc[0].day < panel.freq.day)


def test_a_kept_series_is_not_begun_on_a_day_that_was_cut() -> None:
    about = {"freq": "MS", "covariates": []}
    rows = series("a", "2021-02", 4, 30).drop(columns="unique_id")
    with pytest.raises(DataError, match="meant as day 30: begin the series with a row on that day"):
        appended(about, rows, None, begin=True)
    assert appended(about, rows, None, begin=False)["start"].startswith("2021-02-28")
