"""Harm planted in deliveries of public sets is refused by its own check; honest ones pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from pipelines.config import GateConfig
from pipelines.data.fingerprint import Fingerprint
from pipelines.data.revision import Revision, compare
from pipelines.training.case import Before, Case, Judged
from pipelines.training.data_checks import OF_THE_DATA
from tests.datasets import DATA, needs_data
from tests.pipelines.small import monthly_panel

Harm = Callable[[Panel], Panel]
NOW = np.datetime64("2026-01-10T00:00:00", "us")
SERIES = 24
ONE = Judged("one", np.ones(3))
# Set, file, seasons of the model, horizon, how many newest rows an honest delivery adds.
SETS = {
    "aus_retail": ("data", 12, 6, 1),
    "nn5_daily": ("train", 7, 14, 7),
    "m4_hourly": ("train", 24, 48, 24),
    "m4_weekly": ("train", 52, 13, 1),
    "orange_juice": ("train", 1, 4, 1),
}


def load(name: str, count: int = SERIES) -> Panel:
    """Some series of a set, those that end with the last."""
    frame = pd.read_parquet(DATA / name / f"{SETS[name][0]}.parquet")[["unique_id", "ds", "y"]]
    if not pd.api.types.is_datetime64_any_dtype(frame["ds"]):
        # The competition withheld dates: steps are counted back from one day.
        back = frame.groupby("unique_id")["ds"].transform("max") - frame["ds"]
        unit = {"m4_hourly": "h", "m4_weekly": "W"}[name]
        frame["ds"] = pd.Timestamp("2017-01-01") - pd.to_timedelta(back, unit=unit)
    lasts = frame.groupby("unique_id")["ds"].max()
    ids = lasts.index[lasts == lasts.max()]
    chosen = ids[:: max(len(ids) // count, 1)][:count]
    return Panel.from_frame(frame[frame["unique_id"].isin(chosen)])


def known(panel: Panel, name: str) -> Panel:
    """What the champion was trained on."""
    return panel.truncate(SETS[name][3])


def revision(before: Panel, now: Panel, season: int, horizon: int) -> Revision:
    return compare(Fingerprint.of(before, made=NOW), now, season=season, horizon=horizon, now=NOW)


def refused(found: Revision, config: GateConfig | None = None) -> set[str]:
    """Keys of the checks of the data that fail."""
    case = Case(ONE, ONE, ONE, config or GateConfig(), before=Before(found))
    answers = {key: check(case) for key, check in OF_THE_DATA.items()}
    return {key for key, answer in answers.items() if answer is not None and not answer.passed}


def rows(panel: Panel) -> list[slice]:
    pairs = zip(panel.offsets[:-1], panel.offsets[1:], strict=True)
    return [slice(int(a), int(b)) for a, b in pairs]


def with_y(panel: Panel, change: Callable[[np.ndarray, int], np.ndarray]) -> Panel:
    """Each series' values through a function of them and of its number."""
    y = panel.y.copy()
    for number, part in enumerate(rows(panel)):
        y[part] = change(y[part].copy(), number)
    return replace(panel, y=y)


def half_gone(panel: Panel) -> Panel:
    return panel.select(np.arange(0, len(panel), 2))


def ids_swapped(panel: Panel) -> Panel:
    """Over the newest 12 rows every series is another."""
    ends = [panel.y[part][-12:] for part in rows(panel)]

    def swap(y: np.ndarray, number: int) -> np.ndarray:
        y[-12:] = ends[(number + len(ends) // 2) % len(ends)]
        return y

    return with_y(panel, swap)


def twenty_years_on(panel: Panel) -> Panel:
    return replace(panel, start=panel.start + np.timedelta64(20 * 52 * 7, "D"))


def twenty_years_of_months_on(panel: Panel) -> Panel:
    return replace(panel, start=panel.freq.shift(panel.start, 240))


def moved(steps: int) -> Harm:
    return lambda panel: replace(panel, start=panel.freq.shift(panel.start, steps))


def one_row_years_ahead(panel: Panel) -> Panel:
    steps = 1000
    lengths = panel.lengths.copy()
    lengths[0] += steps
    y = np.insert(panel.y, panel.offsets[1], [np.nan] * (steps - 1) + [panel.y[0]])
    return Panel.from_arrays(panel.ids, y, lengths, panel.start, panel.freq)


def shuffled(panel: Panel) -> Panel:
    rng = np.random.default_rng(0)
    return with_y(panel, lambda y, _: rng.permutation(y))


def newest_times(factor: float, some: float = 1.0) -> Harm:
    """The newest row so many times what it is, in a share of the series."""

    def change(panel: Panel) -> Panel:
        many = round(some * len(panel))

        def times(y: np.ndarray, i: int) -> np.ndarray:
            y[-1] *= factor if i < many else 1.0
            return y

        return with_y(panel, times)

    return change


def older_file(panel: Panel) -> Panel:
    return panel.truncate(36)


def front_cut(panel: Panel) -> Panel:
    return panel.tail(20)


HARM: dict[str, tuple[Harm, set[str]]] = {
    "half of the series gone": (half_gone, {"lost"}),
    "ids swapped over the newest rows": (ids_swapped, {"revised", "unlike"}),
    "moved by one step": (moved(1), {"shifted"}),
    "moved by six steps": (moved(6), {"shifted"}),
    "moved back by one": (moved(-1), {"shifted"}),
    "one row dated years ahead": (one_row_years_ahead, {"ahead"}),
    "values shuffled": (shuffled, {"revised"}),
    "newest row twice": (newest_times(2.0), {"newest"}),
    "newest row a fifth": (newest_times(0.2), {"newest"}),
    "newest row at 0": (newest_times(0.0), {"fallen"}),
    "newest row at 0 in six of ten": (newest_times(0.0, 0.6), {"fallen"}),
    "newest row at 0 in four of ten": (newest_times(0.0, 0.4), {"fallen"}),
    "newest row of the other sign": (newest_times(-1.0), {"fallen"}),
    "an older file": (older_file, {"jumped"}),
    "history cut": (front_cut, {"jumped"}),
}


@needs_data
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("harm", HARM)
def test_harm_is_refused_by_its_own_check(name: str, harm: str) -> None:
    panel = load(name)
    change, wanted = HARM[harm]
    found = revision(known(panel, name), change(panel), *SETS[name][1:3])
    assert wanted & refused(found), found


@needs_data
@pytest.mark.parametrize("name", SETS)
def test_stamps_moved_by_twenty_years_are_refused(name: str) -> None:
    panel = load(name)
    on = twenty_years_of_months_on if name == "aus_retail" else twenty_years_on
    found = revision(known(panel, name), on(panel), *SETS[name][1:3])
    assert refused(found) & {"jumped", "revised"}, found


def same_again(panel: Panel) -> Panel:
    return panel


def few_revised(panel: Panel) -> Panel:
    """The last values of a few series, as figures are that were preliminary."""

    def mend(y: np.ndarray, number: int) -> np.ndarray:
        if number % 4 == 0:
            y[-3:] *= 1.03
        return y

    return with_y(panel, mend)


def two_new(panel: Panel) -> Panel:
    return replace(panel, ids=np.array([*panel.ids[:-2], "new a", "new b"], dtype=object))


def one_ended(panel: Panel) -> Panel:
    return panel.truncate(np.where(np.arange(len(panel)) == 3, 1, 0))


def written_anew(panel: Panel) -> Panel:
    return with_y(panel, lambda y, _: np.float64(np.float32(y)))


def window_moves(panel: Panel) -> Panel:
    return panel.tail(int(panel.lengths.max()) - 1)


HONEST: dict[str, Harm] = {
    "one delivery more": same_again,
    "a few last values revised": few_revised,
    "two new series": two_new,
    "one series ended": one_ended,
    "values written with fewer digits": written_anew,
    "a window that moves on": window_moves,
}


@needs_data
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("honest", HONEST)
def test_an_honest_delivery_passes(name: str, honest: str) -> None:
    panel = load(name)
    # Two new series in the place of two others: the two that go are known to have gone.
    found = revision(known(panel, name), HONEST[honest](panel), *SETS[name][1:3])
    assert refused(found) == set(), found


@needs_data
@pytest.mark.parametrize("name", SETS)
def test_ten_honest_deliveries_in_a_row_pass(name: str) -> None:
    """Beside the fingerprint of the delivery before, whatever season it falls into."""
    panel = load(name)
    _, season, horizon, step = SETS[name]
    stopped = []
    for number in range(10):
        older = panel.truncate((number + 1) * step)
        found = revision(older, panel.truncate(number * step), season, horizon)
        if refused(found):
            stopped.append((number, refused(found), found.newest, found.unlike))
    assert stopped == []


def walks(count: int = 12, length: int = 60, seed: int = 0, start: str = "2020-01-01") -> Panel:
    steps = np.random.default_rng(seed).normal(size=(count, length))
    return monthly_panel(200.0 + np.cumsum(steps, axis=1), start=start)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 9),
    back=st.integers(0, 5),
    changed=st.floats(0.0, 1.0),
    moved_by=st.integers(-3, 3),
)
def test_counts_are_those_of_a_loop_over_series(
    seed: int, count: int, back: int, changed: float, moved_by: int
) -> None:
    rng = np.random.default_rng(seed)
    panel = walks(count, 40, seed)
    y = np.where(rng.random(panel.rows) < 0.1, np.nan, panel.y)
    older = replace(panel, y=y).truncate(back)
    y = np.where(rng.random(panel.rows) < changed, y + 1.0, y)
    delivered = moved(moved_by)(replace(panel, y=y))
    delivered = delivered.select(np.flatnonzero(rng.random(count) < 0.8))
    before = Fingerprint.of(older, made=NOW)
    if not len(delivered) or not len(before):
        return
    found = compare(before, delivered, season=12, horizon=6, now=NOW)
    now = {(i, s): v for i, s, v in delivered.to_frame().itertuples(index=False)}
    ends: dict[str, tuple[pd.Timestamp, pd.Timestamp]] = {}
    for name, stamp in now:
        low, high = ends.get(name, (stamp, stamp))
        ends[name] = (min(low, stamp), max(high, stamp))
    revised = of = 0
    for i, name in enumerate(before.ids):
        for position, was in zip(before.positions[i], before.values[i], strict=True):
            stamp = pd.Timestamp(before.first[i]) + pd.DateOffset(months=int(position))
            there = name in ends and ends[name][0] <= stamp <= ends[name][1]
            if position >= 0 and there and np.isfinite(was):
                of += 1
                revised += not np.isclose(now[name, stamp], was, rtol=1e-6)
    assert (found.revised.count, found.revised.of) == (revised, of)
    assert found.lost.count == sum(name not in ends for name in before.ids)
    assert found.new.count == sum(name not in set(before.ids) for name in ends)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), by=st.integers(-12, 12), part=st.floats(0.2, 1.0))
def test_series_moved_against_their_stamps_are_counted(seed: int, by: int, part: float) -> None:
    panel = walks(10, 60, seed)
    chosen = np.arange(10) < round(10 * part)
    start = np.where(chosen, panel.freq.shift(panel.start, by), panel.start)
    found = revision(panel, replace(panel, start=start), 12, 6)
    assert found.shifted.count == (chosen.sum() if by else 0)


def test_a_series_that_stands_still_is_not_taken_for_moved() -> None:
    panel = monthly_panel(np.full((4, 40), 7.0))
    found = revision(panel.truncate(1), with_y(panel, lambda y, _: y + 1.0), 12, 6)
    assert found.shifted.count == 0
    assert found.revised.share == 1.0


def test_a_feed_that_stopped_is_told_when_today_has_gone_on() -> None:
    panel = walks(6, 60, start="2021-02-01")  # to January 2026
    before = Fingerprint.of(panel, made=NOW)
    for months, late in ((2, False), (20, True)):
        now = NOW + np.timedelta64(31 * months, "D")
        found = compare(before, panel, season=12, horizon=6, now=now)
        assert (refused(found) == {"stale"}) is late, found
    # Data of old times lag behind today, and always did.
    old = walks(6, 60, start="1990-01-01")
    later = NOW + np.timedelta64(4000, "D")
    found = compare(Fingerprint.of(old, made=NOW), old, season=12, horizon=6, now=later)
    assert refused(found) == set()


def test_half_of_the_series_that_go_on_without_the_others_are_told() -> None:
    panel = walks(10, 80, start="2015-01-01")
    behind = np.where(np.arange(10) < 5, 10, 0)
    found = revision(panel.truncate(10), panel.truncate(behind), 12, 6)
    assert refused(found) == {"stale"}
    assert found.stale.count == 5
    assert found.stale.example == "s0"


def test_series_that_always_ended_at_different_times_have_not_fallen_behind() -> None:
    panel = walks(12, 90, start="2010-01-01").truncate(np.arange(12) * 3)
    assert refused(revision(panel.truncate(1), panel, 12, 6)) == set()
    # Those that had ended do not count, however long the others go on.
    panel = walks(12, 90, start="2010-01-01")
    ended = np.where(np.arange(12) < 5, 30, 0)
    before = panel.truncate(np.where(ended, ended, 12))
    found = revision(before, panel.truncate(ended), 12, 6)
    assert found.stale.count == 0


def test_stamps_after_today_are_told_where_there_were_none() -> None:
    panel = walks(6, 60, start="2021-02-01")
    ahead = revision(panel.truncate(30), panel, 12, 6)
    assert ahead.ahead == 0
    late = compare(
        Fingerprint.of(panel.truncate(30), made=NOW - np.timedelta64(900, "D")),
        panel,
        season=12,
        horizon=6,
        now=NOW - np.timedelta64(890, "D"),
    )
    assert "ahead" in refused(late)


def test_integer_steps_are_compared_as_they_are() -> None:
    y = np.random.default_rng(0).normal(50.0, 1.0, (6, 40))
    panel = Panel.from_arrays(
        [f"s{i}" for i in range(6)], y.ravel(), np.full(6, 40), np.ones(6, np.int64), "step"
    )
    assert refused(revision(panel.truncate(1), panel, 1, 4)) == set()
    assert "shifted" in refused(revision(panel.truncate(1), moved(2)(panel), 1, 4))


def test_another_step_cannot_be_compared_and_says_so() -> None:
    before = Fingerprint.of(walks())
    daily = Panel.from_arrays(["s0"], np.arange(9.0), [9], walks().start[:1], "D")
    with pytest.raises(DataError, match="steps of D, those before had MS"):
        compare(before, daily, season=12, horizon=6)


def test_nothing_in_common_is_told_and_divides_by_nothing() -> None:
    panel = walks(4, 40)
    other = replace(panel, ids=np.array(list("wxyz"), dtype=object))
    found = revision(panel, other, 12, 6)
    assert found.revised.share == 0.0
    assert {"lost", "new"} <= refused(found)
    empty = replace(panel, y=np.full(panel.rows, np.nan))
    assert "jumped" in refused(revision(panel, empty, 12, 6))
    assert refused(revision(empty, panel, 12, 6)) == {"new"}


def test_a_new_level_that_the_champion_knows_is_no_news_however_many_rows_follow() -> None:
    season = 10.0 * np.sin(np.arange(84) * np.pi / 6)
    rng = np.random.default_rng(0)
    y = 100.0 + season + rng.normal(size=(12, 84))
    y[:, -4:] *= 2.0
    panel = monthly_panel(y, start="2015-01-01")
    for known_of_it, news in ((0, True), (1, False), (2, False)):
        for months in range(1, 5 - known_of_it):
            until = panel.truncate(4 - known_of_it - months)
            found = revision(until.truncate(months), until, 12, 6)
            assert ("newest" in refused(found)) is news, (known_of_it, months, found)
