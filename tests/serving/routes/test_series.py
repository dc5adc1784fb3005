"""Series that are kept: the answers of whole requests, and what is refused and why."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from forecasting.data.calendar import Frequency
from forecasting.prediction.predictor import Predictor
from forecasting.schema import Covariate
from serving.app import Application
from serving.reading.query import Limits
from serving.states.asked import _column
from serving.states.kept import PIECE
from serving.states.store import FILE
from tests.serving.conftest import Caller
from tests.serving.test_parity import MODELS, random_panel, readable


@pytest.fixture
def kept(app: Application, tmp_path: Path) -> Iterator[Caller]:
    """A service with the models of another and a home of its own."""
    yield from service(app, tmp_path)


def service(app: Application, home: Path, **more: Any) -> Iterator[Caller]:
    update = {"home": home, "protect": False, **more}
    other = Application(app.settings.model_copy(update=update))
    other.service.models = app.service.models
    yield Caller(other)
    other.service.close()


def path_of(series: str, what: str = "append") -> str:
    return f"/v1/series/{quote(series, safe='')}/{what}"


def months(count: int, **more: Any) -> dict[str, Any]:
    return {"start": "2015-01-01", "y": [100.0 + k % 12 for k in range(count)], **more}


def test_an_answer_is_that_of_the_whole_request_however_the_rows_came(
    kept: Caller, request: pytest.FixtureRequest
) -> None:
    for name in MODELS:
        engine: Predictor = request.getfixturevalue(name)
        for whole in readable(random_panel(engine, 11)):
            if "tz" in whole:
                continue
            options = {"quantiles": [0.2, 0.5]}
            wanted = kept.post({"model": name, "series": [whole], **options}).json()
            given = append_in_pieces(kept, name, engine, whole)
            assert given.status_code == 200, given.json()
            asked = f"?model={name}&quantiles=0.2,0.5"
            found = kept("GET", path_of(f"{name} {whole['id']}", "forecast") + asked).json()
            for one in (*found["forecasts"], *found["errors"]):
                assert one.pop("id") == f"{name} {whole['id']}"
            for one in (*wanted["forecasts"], *wanted["errors"]):
                one.pop("id")
            assert found == wanted


def append_in_pieces(
    kept: Caller, name: str, engine: Predictor, whole: dict[str, Any]
) -> httpx.Response:
    """Three appends that overlap each other."""
    count, series = len(whole["y"]), f"{name} {whole['id']}"
    stamps = engine.freq.stamps(np.array([whole["start"]], "datetime64[us]"), 0, count)[0]
    ends = sorted({max(count // 2, 1), max(count - 2, 1), count})
    answer = httpx.Response(500)
    for k, end in enumerate(ends):
        begin = max(ends[k - 1] - 3, 0) if k else 0
        rows = slice(begin, end)
        body = {"model": name, "start": str(stamps[begin]), "y": whole["y"][rows], "begin": not k}
        body["past"] = {c: v[rows] for c, v in whole.get("past", {}).items()}
        steps = engine.config.horizon
        body["future"] = {c: v[begin : end + steps] for c, v in whole.get("future", {}).items()}
        if not k:
            body["static"] = whole.get("static", {})
        answer = kept.post(body, path_of(series))
        assert answer.status_code == 200, answer.json()
        about = answer.json()["series"]
        assert about["known"] == (ends[k - 1] - begin if k else 0)
        assert about["rows"] == end
    return answer


def test_stamps_in_a_zone_go_on_across_a_change_of_the_clock(
    kept: Caller, power: Predictor
) -> None:
    hours = [10.0 + k % 24 for k in range(60)]
    first = {"model": "power", "start": "2026-03-27T12:00:00", "tz": "Europe/Madrid", "begin": True}
    wanted = kept.post({"model": "power", "tz": "Europe/Madrid",
                        "series": [{"id": "m", "start": first["start"], "y": hours}]})  # fmt: skip
    answer = kept.post({**first, "y": hours[:35]}, path_of("m")).json()["series"]
    assert answer["last"] == "2026-03-28T22:00:00+01:00"
    for start in ("2026-03-28T23:00:00", "2026-03-28T22:00:00Z", "2026-03-28T23:00:00+01:00"):
        body = {"model": "power", "start": start, "y": hours[35:], "forecast": True}
        answer = kept.post(body, path_of("m")).json()
        assert answer["series"]["last"] == "2026-03-30T00:00:00+02:00"
        assert answer["forecasts"] == wanted.json()["forecasts"]
    other = kept.post({**first, "tz": "Asia/Tokyo", "y": hours}, path_of("m"))
    assert (other.status_code, other.json()["code"]) == (409, "other_zone")


def test_covariates_ahead_are_those_announced_until_others_are(kept: Caller) -> None:
    y, temp, promo = [100.0 + k % 12 for k in range(30)], [9.0] * 30, [0.0, 1.0] * 15
    static = {"region": "north", "area": 100.0}

    def wanted(count: int, ahead: list[float]) -> Any:
        series = {
            "id": "a", "start": "2015-01-01", "y": y[:count], "past": {"temp": temp[:count]},
            "future": {"promo": [*promo[:count], *ahead]}, "static": static,
        }  # fmt: skip
        return kept.post({"model": "retail", "series": [series], "horizon": len(ahead)}).json()

    def told(start: str, rows: slice, future: list[float] | None, horizon: int) -> Any:
        body = {"model": "retail", "start": start, "y": y[rows], "past": {"temp": temp[rows]}}
        if future is not None:
            body["future"] = {"promo": future}
        if rows.start == 0:
            body |= {"static": static, "begin": True}
        body["forecast"] = {"horizon": horizon}
        return kept.post(body, path_of("a")).json()

    answer = told("2015-01-01", slice(0, 28), [*promo[:28], 0.0, 1.0, 1.0, 0.0], 4)
    assert answer["forecasts"] == wanted(28, [0.0, 1.0, 1.0, 0.0])["forecasts"]
    # The next two come as announced; of what is left of it two steps are known.
    answer = told("2017-05-01", slice(28, 30), None, 2)
    assert answer["forecasts"] == wanted(30, [1.0, 0.0])["forecasts"]
    (error,) = kept("GET", path_of("a", "forecast") + "?model=retail").json()["errors"]
    assert error["code"] == "missing_future_covariate"
    # No new row, but news of the steps ahead.
    answer = told("2017-07-01", slice(30, 30), [1.0, 1.0, 1.0, 1.0], 4)
    assert answer["series"]["appended"] == 0
    assert answer["forecasts"] == wanted(30, [1.0] * 4)["forecasts"]


def test_equal_rows_may_come_again_and_others_may_not(kept: Caller) -> None:
    first = kept.post(months(30, begin=True), path_of("a")).json()["series"]
    assert first == {
        "id": "a", "rows": 30, "first": "2015-01-01T00:00:00", "last": "2017-06-01T00:00:00",
        "next": "2017-07-01T00:00:00", "freq": "MS", "tz": None,
        "appended": 30, "known": 0, "passed": 0,
    }  # fmt: skip
    again = kept.post(months(30, begin=True), path_of("a")).json()["series"]
    assert again == {**first, "appended": 0, "known": 30}
    more = kept.post({"start": "2017-06-01", "y": [105, None, 7]}, path_of("a")).json()["series"]
    assert (more["appended"], more["known"], more["last"]) == (2, 1, "2017-08-01T00:00:00")
    before = kept("GET", "/v1/series/a").json()

    def refused(body: Any, code: str, place: str) -> Any:
        answer = kept.post(body, path_of("a"))
        content = answer.json()
        assert (answer.status_code, content["code"]) == (409, code)
        assert [(e["place"], e["code"]) for e in content["errors"]] == [(place, code)]
        return content

    wrong = refused({"start": "2017-05-01", "y": [104, 106]}, "contradiction", "y[1]")
    assert "106.0 at 2017-06-01T00:00:00, where 105.0 was appended before" in wrong["detail"]
    refused({"start": "2017-07-01", "y": [3.0]}, "contradiction", "y[0]")
    refused({"start": "2017-08-01", "y": [None, 8.0]}, "contradiction", "y[0]")
    gap = refused({"start": "2017-10-01", "y": [1]}, "gap", "start")
    assert gap["next"] == "2017-09-01T00:00:00"
    assert "null where nothing was observed" in gap["detail"]
    refused({"start": "2014-12-01", "y": [1]}, "before_begin", "start")
    refused({"start": "2017-09-01T00:00:00Z", "y": [1]}, "other_zone", "start")
    assert kept("GET", "/v1/series/a").json() == before


def test_a_static_value_is_given_once_and_past_rows_are_compared_too(kept: Caller) -> None:
    body = {
        "model": "retail", "start": "2015-01-01", "y": [1, 2], "past": {"temp": [1, 2]},
        "future": {"promo": [0, 1]}, "static": {"region": "north"}, "begin": True,
    }  # fmt: skip
    assert kept.post(body, path_of("a")).status_code == 200
    for change, place in (
        ({"static": {"region": "south"}}, "static.region"),
        ({"past": {"temp": [1, 3]}}, "past.temp[1]"),
        ({"future": {"promo": [1, 1]}}, "future.promo[0]"),
    ):
        answer = kept.post({**body, **change}, path_of("a"))
        assert (answer.status_code, answer.json()["code"]) == (409, "contradiction")
        assert [e["place"] for e in answer.json()["errors"]] == [place]
    later = {**body, "static": {"area": 9.0}, "future": {"promo": [None, None]}}
    told = kept.post(later, path_of("a")).json()["series"]
    assert told["known"] == 2
    # What was told before is not missing.
    assert "notes" not in kept.post({**later, "static": {}}, path_of("a")).json()["series"]


def test_what_is_not_there_is_named_and_nothing_begins_by_itself(kept: Caller) -> None:
    for method, path, body in (
        ("POST", path_of("a"), months(1)),
        ("GET", path_of("a", "forecast"), None),
        ("GET", "/v1/series/a", None),
        ("DELETE", "/v1/series/a", None),
    ):
        answer = kept(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_series")
        assert '"begin": true' in answer.json()["detail"]
    kept.post(months(3, begin=True), path_of("a"))
    # Another model keeps its own.
    assert kept("GET", "/v1/series/a?model=power").status_code == 404
    assert kept("DELETE", "/v1/series/a?model=monthly").json()["deleted"] == "a"
    assert kept("GET", "/v1/series/a").status_code == 404
    assert kept.post(months(2, begin=True), path_of("a")).json()["series"]["rows"] == 2


@pytest.mark.parametrize("name", ["a/b", "a b/append", "Ω", "%2F", "append", "x" * 1024, "a?b#c"])
def test_any_name_of_a_series_can_be_asked_for(kept: Caller, name: str) -> None:
    answer = kept.post(months(30, begin=True), path_of(name))
    assert answer.json()["series"]["id"] == name
    found = kept("GET", path_of(name, "forecast")).json()["forecasts"]
    assert [one["id"] for one in found] == [name]
    assert kept("DELETE", path_of(name, "")[:-1]).status_code == 200


def series_of(**more: Any) -> dict[str, Any]:
    return {
        "model": "retail", "start": "2015-01-01", "y": [1, 2, 3], "past": {"temp": [1, 2, 3]},
        "begin": True, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [
        ({"start": None}, "start", "missing"),
        ({"start": "soon"}, "start", "not_a_stamp"),
        ({"y": None}, "y", "missing"),
        ({"y": [], "past": {"temp": []}}, "y", "empty"),
        ({"y": [1, "two", 3]}, "y[1]", "wrong_type"),
        ({"past": {"temp": [1]}}, "temp", "length_mismatch"),
        ({"past": {}}, "temp", "missing_past_covariate"),
        ({"past": {"wind": [1, 2, 3]}}, "past.wind", "unknown_covariate"),
        ({"future": {"promo": [1, 2]}}, "future.promo", "length_mismatch"),
        ({"future": {"promo": [1] * 8}}, "future.promo", "length_mismatch"),
        ({"future": {"promo": 1}}, "future.promo", "wrong_type"),
        ({"future": {"price": [1, 2, 3]}}, "future.price", "unknown_covariate"),
        ({"future": 3}, "future", "wrong_type"),
        ({"static": {"region": ["n"]}}, "static.region", "wrong_type"),
        ({"begin": 1}, "begin", "wrong_type"),
        ({"tz": "Mars"}, "tz", "unknown_zone"),
        ({"tz": 3}, "tz", "wrong_type"),
        ({"forecast": 3}, "forecast", "wrong_type"),
        ({"forecast": {"horizon": 0}}, "forecast.horizon", "out_of_range"),
        ({"forecast": {"paths": 2}}, "forecast.paths", "unknown_key"),
        ({"series": []}, "series", "unknown_key"),
        ({"id": "a"}, "id", "unknown_key"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_nothing_is_kept(
    kept: Caller, body: dict[str, Any], place: str, code: str
) -> None:
    answer = kept.post(series_of(**body), path_of("a"))
    assert answer.status_code == 422
    assert [(e["place"], e["code"]) for e in answer.json()["errors"]] == [(place, code)]
    assert kept("GET", "/v1/series/a?model=retail").status_code == 404


@pytest.mark.parametrize(
    ("asked", "place", "code"),
    [
        ("horizon=much", "horizon", "wrong_type"),
        ("horizon=0", "horizon", "out_of_range"),
        ("horizon=99", "horizon", "horizon_too_long"),
        ("quantiles=0.1,x", "quantiles[1]", "wrong_type"),
        ("quantiles=0.1,0.1", "quantiles[1]", "duplicate"),
        ("extend=maybe", "extend", "wrong_type"),
        ("paths=3", "paths", "unknown_key"),
        ("horizon=1&horizon=2", "horizon", "duplicate"),
        ("model=", "model", "wrong_type"),
    ],
)
def test_a_wrong_parameter_is_named(kept: Caller, asked: str, place: str, code: str) -> None:
    kept.post(months(30, begin=True), path_of("a"))
    answer = kept("GET", path_of("a", "forecast") + "?" + asked)
    assert answer.status_code == 422
    assert [(e["place"], e["code"]) for e in answer.json()["errors"]] == [(place, code)]


def test_other_refusals(kept: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept("GET", path_of("a", "forecast") + "?horizon").status_code == 422
    assert kept("GET", "/v1/series/" + "x" * 1025).status_code == 422
    assert kept("GET", "/v1/series/%FF").status_code == 404
    assert kept("GET", "/v1/series/a?model=nobody").json()["code"] == "unknown_model"
    assert kept("PUT", "/v1/series/a").headers["allow"] == "GET, DELETE, HEAD"
    assert kept.post([], path_of("a")).status_code == 422
    assert kept("POST", path_of("a"), content=b"{").status_code == 415
    spec = type(kept.app.service.loaded("monthly").spec)
    monkeypatch.setattr(spec, "limits", property(lambda _: Limits(output=3)), raising=False)
    answer = kept("GET", path_of("a", "forecast"))
    assert (answer.status_code, answer.json()["code"]) == (413, "answer_too_large")


def test_long_histories_are_cut_and_answer_as_before(app: Application, tmp_path: Path) -> None:
    hours = 1000
    y = [10.0 + k % 24 + k % 7 for k in range(hours)]
    (caller,) = [*service_of(app, tmp_path, series_rows=100)]
    body = {"model": "power", "start": "2026-01-01T00:00:00", "tz": "Europe/Madrid", "begin": True}
    about = caller.post({**body, "y": y}, path_of("m")).json()["series"]
    assert 100 <= about["rows"] < hours
    assert about["rows"] % PIECE == hours % PIECE
    series = {"id": "m", "start": body["start"], "y": y}
    wanted = caller.post({"model": "power", "tz": body["tz"], "series": [series]}).json()
    found = caller("GET", path_of("m", "forecast") + "?model=power").json()
    assert found == wanted
    again = caller.post({**body, "y": y}, path_of("m")).json()["series"]
    assert (again["appended"], again["known"]) == (0, about["rows"])
    assert again["passed"] == hours - about["rows"]
    caller.app.service.close()


def test_a_series_that_begins_late_in_a_month_keeps_its_day(kept: Caller) -> None:
    y = [100.0 + k % 12 for k in range(3 * PIECE)]
    for start in ("1990-01-30", "1990-01-31", "1990-02-28"):
        wanted = kept.post({"series": [{"id": "a", "start": start, "y": y}]}).json()
        about = {"start": start, "y": y, "begin": True, "forecast": True}
        found = kept.post(about, path_of(f"a{start}")).json()
        assert found["forecasts"][0]["ds"] == wanted["forecasts"][0]["ds"]
        assert found["forecasts"][0]["quantiles"] == wanted["forecasts"][0]["quantiles"]
        following = {"start": found["series"]["next"], "y": [5.0]}
        assert kept.post(following, path_of(f"a{start}")).json()["series"]["appended"] == 1


@pytest.mark.parametrize("day", [29, 30, 31])
def test_steps_ahead_lie_on_the_day_of_the_first_stamp_wherever_rows_end(
    kept: Caller, day: int
) -> None:
    """Counted from the first stamp, whichever month the last value stands in, and whoever asks."""
    freq, first = Frequency.parse("MS"), np.array([f"2019-01-{day}"], "datetime64[us]")
    other = {"id": "b", "start": "2019-04-30", "y": [3.0, 4.0] * 11}
    beside = freq.stamps(np.array(["2019-04-30"], "datetime64[us]"), 22, 6)[0]
    for count in (9, 10, 13, 15, 25):
        told = freq.stamps(first, count, 6)[0].astype("datetime64[s]").astype(str).tolist()
        one = {"id": "a", "start": f"2019-01-{day}", "y": [1.0, 2.0, 4.0] * 9}
        one["y"] = one["y"][:count]
        asked = [{"series": [one]}, {"series": [other, one]}, {"series": [other]}]
        for answer in (*kept.together(asked)[:2], kept.post(asked[0], "/v1/explain")):
            found = answer.json()
            found = (found.get("forecasts") or found["explanations"])[-1]
            assert (found["id"], found["ds"]) == ("a", told)
        (other_one, _) = kept.post(asked[1]).json()["forecasts"]
        assert other_one["ds"] == beside.astype("datetime64[s]").astype(str).tolist()
        body = {**one, "begin": True, "forecast": True}
        (found,) = kept.post({k: v for k, v in body.items() if k != "id"},
                             path_of(f"{day} {count}")).json()["forecasts"]  # fmt: skip
        assert found["ds"] == told


def service_of(app: Application, home: Path, **more: Any) -> Iterator[Caller]:
    update = {"home": home, "protect": False, **more}
    other = Application(app.settings.model_copy(update=update))
    other.service.models = app.service.models
    yield Caller(other)


def test_what_a_restarted_service_and_another_worker_say_is_the_same(
    app: Application, tmp_path: Path
) -> None:
    (first,), (second,) = ([*service_of(app, tmp_path)] for _ in range(2))
    first.post(months(30, begin=True), path_of("a"))
    wanted = first("GET", path_of("a", "forecast")).json()
    first.app.service.close()
    assert second("GET", path_of("a", "forecast")).json() == wanted
    assert second.post({"start": "2017-07-01", "y": [9]}, path_of("a")).status_code == 200
    second.app.service.close()
    for file in (tmp_path / "series").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE((tmp_path / "series").stat().st_mode) == 0o700


def test_a_new_champion_answers_from_the_rows_that_are_kept(
    app: Application, kept: Caller, plain_again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = {"id": "a", **months(30)}
    kept.post(months(30, begin=True), path_of("a"))
    keeper = kept.app.service.models.keepers["monthly"]
    before = kept("GET", path_of("a", "forecast")).json()
    current = keeper.current
    other = Predictor.load(plain_again)
    monkeypatch.setattr(keeper, "current", replace(current, predictor=other))
    wanted = kept.post({"series": [series]}).json()
    found = kept("GET", path_of("a", "forecast")).json()
    assert found == wanted
    assert found["forecasts"] != before["forecasts"]
    # One with other covariates, and one of another step, say what they lack.
    retail, power = (kept.app.service.loaded(name) for name in ("retail", "power"))
    monkeypatch.setattr(keeper, "current", replace(retail, origin=current.origin))
    (error,) = kept("GET", path_of("a", "forecast")).json()["errors"]
    assert (error["code"], error["where"]) == ("missing_past_covariate", {"column": "temp"})
    monkeypatch.setattr(keeper, "current", replace(power, origin=current.origin))
    answer = kept("GET", path_of("a", "forecast"))
    assert (answer.status_code, answer.json()["code"]) == (409, "other_step")
    body = {"start": "2017-07-01T00:00:00", "y": [1]}
    assert kept.post(body, path_of("a")).json()["code"] == "other_step"


def test_what_a_new_champion_needs_is_no_news_of_rows_that_are_kept(
    app: Application, kept: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that came with rows that are there were told to be known, and were not kept."""
    kept.post(months(30, begin=True), path_of("a"))
    keeper = kept.app.service.models.keepers["monthly"]
    assert keeper.current is not None
    retail = replace(kept.app.service.loaded("retail"), origin=keeper.current.origin)
    monkeypatch.setattr(keeper, "current", retail)
    again = {**months(30), "past": {"temp": [9.0] * 30}, "future": {"promo": [1.0] * 34}}
    answer = kept.post(again, path_of("a")).json()
    assert [(e["place"], e["code"]) for e in answer["errors"]] == [
        ("past.temp[0]", "contradiction")
    ]
    ahead = {**months(30), "past": {"temp": [None] * 30}, "future": {"promo": [1.0] * 34}}
    answer = kept.post(ahead, path_of("a")).json()
    assert [e["place"] for e in answer["errors"]] == ["future.promo[0]"]


@pytest.mark.parametrize("value", [7, 7.0, "7"])
def test_a_number_that_was_kept_names_the_category_that_it_names_in_a_request(value: Any) -> None:
    covariate = Covariate(name="kind", role="static", type="categorical", categories=("7", "8"))
    assert _column(covariate, [value, None]).tolist() == ["7", None]


def test_appends_at_once_are_put_one_after_the_other(kept: Caller) -> None:
    kept.post(months(2, begin=True), path_of("a"))

    async def race() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=kept.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            bodies = [{"start": "2015-03-01", "y": [float(k)]} for k in range(8)]
            return await asyncio.gather(*(client.post(path_of("a"), json=b) for b in bodies))

    answers = asyncio.run(race())
    assert sorted(a.status_code for a in answers) == [200] + [409] * 7
    assert kept("GET", "/v1/series/a").json()["series"]["rows"] == 3


def test_a_file_that_cannot_be_used_is_said(app: Application, tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / FILE).write_bytes(b"no database at all" * 100)
    (caller,) = [*service_of(app, tmp_path)]
    for answer in (
        caller.post(months(2, begin=True), path_of("a")),
        caller("GET", path_of("a", "forecast")),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "series_unavailable")
        assert str(tmp_path) not in answer.text
    assert caller.post({"series": [{"id": "a", **months(30)}]}).status_code == 200


def test_the_document_describes_the_routes(call: Caller) -> None:
    document = call("GET", "/openapi.json").json()
    assert set(document["paths"]["/v1/series/{id}"]) >= {"get", "delete"}
    names = {p["name"] for p in document["paths"]["/v1/series/{id}/forecast"]["parameters"]}
    assert names == {"id", "model", "horizon", "quantiles", "extend"}
    asked = document["components"]["schemas"]["AppendRequest"]["properties"]
    assert {"start", "y", "past", "future", "static", "begin", "forecast"} <= set(asked)
