"""The explorer in a real browser: a table dropped, models compared, an error mended."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.browser import Page, chromium, executable
from tests.serving.conftest import KEY, sales, stores
from tests.serving.process import ROOT, Server, environment
from tests.serving.store import Store

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(executable() is None, reason="no Chromium on this machine"),
]
AXE = [
    Path(os.environ.get("GATECAST_AXE", "")),
    ROOT / "node_modules" / "axe-core" / "axe.min.js",
]
SECONDS = 30.0
# What the page says once it has an answer.
DONE = " ms."


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    plain: Path,
    plain_again: Path,
    rich: Path,
    steps: Path,
    hourly: Path,
) -> Iterator[Server]:
    """Monthly models, of which one has covariates, one of hours and one that counts steps."""
    store = Store(tmp_path_factory.mktemp("explored"))
    bundles = {"monthly": plain, "challenger": plain_again, "retail": rich, "steps": steps}
    bundles["power"] = hourly
    for name, bundle in bundles.items():
        store.register(name, bundle)
    with Server(store, *bundles) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium(1280, 900) as page:
        page.watch()
        yield page


@pytest.fixture
def page(browser: Page, server: Server) -> Iterator[Page]:
    """The explorer, with the example's forecast; the browser must have nothing to complain of."""
    _show(browser, 1280, 900, dark=False)
    browser.complaints.clear()
    browser.open(server.address)
    browser.wait("example-1", DONE, seconds=SECONDS)
    yield browser
    refused = [c for c in browser.complaints if "status of 4" not in c]
    assert refused == []
    hosts = "performance.getEntriesByType('resource').map(r => new URL(r.name).host)"
    assert set(browser.run(hosts)) <= {server.address.removeprefix("http://")}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plain table, one with covariates, and one that is daily."""
    folder = tmp_path_factory.mktemp("tables")
    frame = sales(count=3).dropna(subset=["y"])
    renamed = {"unique_id": "store", "ds": "month", "y": "sold"}
    plain = frame[["unique_id", "ds", "y"]].rename(columns=renamed)
    plain.to_csv(folder / "sold.csv", index=False, sep=";", decimal=",", date_format="%d.%m.%Y")
    whole = frame.merge(stores(3)).rename(columns=renamed)
    whole.to_csv(folder / "promotions.csv", index=False)
    wide = frame.pivot(index="ds", columns="unique_id", values="y").reset_index()
    wide.rename(columns={"ds": "date"}).to_csv(folder / "wide.csv", index=False)
    hours = pd.date_range("2026-03-25", periods=200, freq="h", tz="Europe/Madrid")
    stamps = [stamp.isoformat() for stamp in hours]
    frame = pd.DataFrame({"id": "m", "ds": stamps, "load": np.arange(200) % 24 + 1.0})
    pd.concat([frame.assign(id=f"m{i}") for i in range(3)]).to_csv(
        folder / "hours.csv", index=False
    )
    days = pd.date_range("2024-01-01", periods=90).strftime("%Y-%m-%d")
    pd.DataFrame({"ds": days, "y": range(90)}).to_csv(folder / "daily.csv", index=False)
    return folder


def _show(page: Page, width: int, height: int, *, dark: bool) -> None:
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
    )  # fmt: skip
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    page.call("Emulation.setEmulatedMedia", features=[scheme])


def _until(page: Page, condition: str) -> Any:
    """Wait for a JavaScript expression to be true; its value."""
    end = time.monotonic() + SECONDS
    while not (found := page.run(condition)):
        assert time.monotonic() < end, f"never true: {condition}; the page:\n{page.text()}"
        time.sleep(0.05)
    return found


def _drop(page: Page, file: Path, shown: str) -> None:
    page.choose("#file", file)
    page.wait(file.name + ":", seconds=SECONDS)
    page.wait(shown, DONE, seconds=SECONDS)


def _set(page: Page, element: str, value: str) -> None:
    page.run(
        f"""(() => {{ const e = document.getElementById({json.dumps(element)});
        e.value = {json.dumps(value)};
        e.dispatchEvent(new Event(e.type === "range" || e.type === "text" ? "input" : "change",
                                  {{bubbles: true}})); }})()"""
    )


def _rows(page: Page) -> list[list[str]]:
    """The body of the table of forecasts, as text."""
    script = """[...document.querySelectorAll('.numbers tbody tr')]
        .map(row => [...row.cells].map(cell => cell.innerText))"""
    return [list(row) for row in page.run(script)]


def _download(page: Page, folder: Path, button: str, name: str) -> Path:
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.click(button, "button")
    end = time.monotonic() + SECONDS
    while not (folder / name).exists() or not (folder / name).stat().st_size:
        assert time.monotonic() < end, f"{name} never came"
        time.sleep(0.05)
    return folder / name


def test_a_dropped_table_is_forecast(
    page: Page, server: Server, tables: Path, tmp_path: Path
) -> None:
    _drop(page, tables / "sold.csv", "store-0")
    shown = page.text()
    assert "3 series" in shown
    assert "one per month" in shown
    body = {
        "model": "monthly",
        "quantiles": [0.025, 0.1, 0.5, 0.9, 0.975],
        "series": [_series(tables, "store-0")],
    }
    expected = server.forecast(body)["forecasts"][0]
    with _download(page, tmp_path, "CSV", "forecast.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "monthly"]
    assert [row["ds"] for row in rows] == [stamp[:10] for stamp in expected["ds"]]
    assert [float(row["mean"]) for row in rows] == expected["mean"]
    for level, values in expected["quantiles"].items():
        assert [float(row[f"q{level}"]) for row in rows] == values
    first = _rows(page)[0]
    assert first[0] == expected["ds"][0][:7]
    assert float(first[2]) == pytest.approx(expected["quantiles"]["0.5"][0], rel=1e-3)
    picture = _download(page, tmp_path, "PNG", "forecast.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5_000


def _series(tables: Path, name: str) -> dict[str, Any]:
    frame = pd.read_csv(tables / "sold.csv", sep=";", decimal=",")
    frame = frame[frame["store"] == name]
    stamps = pd.to_datetime(frame["month"], format="%d.%m.%Y")
    values = pd.Series(frame["sold"].to_numpy(), stamps).asfreq("MS")
    y = [None if v != v else v for v in values]
    return {"id": name, "start": str(values.index[0].date()), "y": y}


def test_models_and_baselines_are_laid_over_each_other(page: Page, tables: Path) -> None:
    _drop(page, tables / "sold.csv", "store-0")
    page.click("challenger", "label")
    page.click("naive: the last value", "label")
    legend = "document.getElementById('legend').innerText"
    _until(page, f"{legend}.includes('challenger') && {legend}.includes('naive (in this browser)')")
    assert "retail: needs temp, promo" in page.text()
    page.click("store-1", "label")
    _until(page, "document.querySelectorAll('.card').length === 2")
    heads = page.run("[...document.querySelectorAll('.group')].map(e => e.innerText)")
    assert heads[:2] == ["monthly", "challenger"]
    by_series = {row[0] for row in _rows(page)}
    assert by_series == {"store-0", "store-1"}


def test_going_back_shows_what_happened_and_how_far_each_line_lay(page: Page, tables: Path) -> None:
    _drop(page, tables / "sold.csv", "store-0")
    _set(page, "asof", "-6")
    page.wait("Mean absolute error over the 6 steps", seconds=SECONDS)
    assert page.run("document.getElementById('asof').getAttribute('aria-valuetext')").startswith(
        "2020-06, 6 steps before the end"
    )
    happened = [row[1] for row in _rows(page)]
    known = _series(tables, "store-0")["y"][-6:]
    for shown, value in zip(happened, known, strict=True):
        assert (shown == "") == (value is None)
        assert value is None or float(shown) == pytest.approx(value, rel=1e-2)


def test_the_model_that_reads_the_columns_is_chosen_and_what_is_not_known_ahead_is_said(
    page: Page, tables: Path
) -> None:
    page.choose("#file", tables / "promotions.csv")
    page.wait("retail gives no forecast", "promo", "Add rows after the last value", seconds=SECONDS)
    assert page.run("document.getElementById('model').value") == "retail"
    page.click("As of 4 steps before the end", "button")
    page.wait("Mean absolute error over the 4 steps", seconds=SECONDS)
    assert "gives no forecast" not in page.text()


def test_what_the_service_notes_of_a_series_is_said(
    page: Page, tables: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(tables / "promotions.csv").drop(columns="area")
    frame.assign(region="moon", temp=frame["temp"] + 1e6).to_csv(tmp_path / "far.csv", index=False)
    page.choose("#file", tmp_path / "far.csv")
    page.wait("retail gives no forecast", seconds=SECONDS)
    page.click("As of 4 steps before the end", "button")
    page.wait(
        *("never saw moon as region", "was not told area", "learnt nothing of temp as far out"),
        seconds=SECONDS,
    )


def test_a_refusal_says_where_and_what_to_do_and_keeps_what_was_typed(page: Page) -> None:
    _set(page, "horizon", "99")
    page.wait("Steps ahead: 99 is beyond 6", seconds=SECONDS)
    assert page.run("document.getElementById('horizon').value") == "99"
    assert page.run("document.getElementById('horizon').getAttribute('aria-invalid')") == "true"
    assert "99 is beyond 6" in page.run("document.getElementById('horizon-error').innerText")
    page.click("Go beyond", "button")
    page.wait("99 steps of 1 series", seconds=SECONDS)
    assert page.run("document.getElementById('error').innerText") == ""
    _set(page, "horizon", "six")
    page.wait("must be a whole number", seconds=SECONDS)
    assert page.run("document.getElementById('horizon').value") == "six"
    _set(page, "horizon", "7")
    page.wait("7 steps of 1 series", seconds=SECONDS)


def test_a_table_of_another_step_and_a_broken_one_are_refused_with_their_cure(
    page: Page, tables: Path, tmp_path: Path
) -> None:
    page.choose("#file", tables / "daily.csv")
    page.wait("a value per day, the model reads one per month", seconds=SECONDS)
    assert "gatecast ingest" in page.text()
    sheet = tmp_path / "sheet.csv"
    sheet.write_bytes(b"PK\x03\x04 and so on")
    page.choose("#file", sheet)
    page.wait("is an Excel workbook", "Save the sheet as CSV", seconds=SECONDS)
    _drop(page, tables / "sold.csv", "store-0")
    assert page.run("document.getElementById('error').innerText") == ""


def test_columns_can_be_changed(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    stamps = pd.date_range("2020-01-01", periods=30, freq="MS").strftime("%Y-%m")
    frame = pd.DataFrame({"month": stamps, "gross": range(100, 130), "net": range(30)})
    frame.to_csv(file, index=False)
    page.choose("#file", file)
    page.wait("two.csv: 2 series", seconds=SECONDS)
    _set(page, "layout", "long")
    page.wait("two.csv: 1 series", seconds=SECONDS)
    _set(page, "role-1", "")
    page.wait("No column was recognised as the value", seconds=SECONDS)
    _set(page, "role-2", "y")
    page.wait("two.csv: 1 series", DONE, seconds=SECONDS)
    page.click("Code", "button")
    assert '"y": [0, 1, 2, 3' in page.run("document.getElementById('code').innerText")


CODE = {
    "the example": ("", "monthly", 0),
    "a file of its own marks, cut": ("sold.csv", "monthly", 6),
    "covariates": ("promotions.csv", "retail", 4),
    "a column for each series": ("wide.csv", "monthly", 0),
    "dates for a model of steps": ("sold.csv", "steps", 3),
    "stamps with offsets, over a change of the clock": ("hours.csv", "power", 50),
}


@pytest.mark.parametrize("case", CODE)
def test_the_code_does_what_the_page_shows(
    page: Page, server: Server, tables: Path, case: str
) -> None:
    file, model, back = CODE[case]
    if file:
        page.choose("#file", tables / file)
        page.wait(f"{file}: 3 series", seconds=SECONDS)
    if page.run("document.getElementById('model').value") != model:
        _set(page, "model", model)
    if back:
        _set(page, "asof", str(-back))
    if file:
        page.click("m2" if model == "power" else "store-2", "label")
    _until(page, f"document.getElementById('status').innerText.startsWith('{model}, version 1')")
    _until(page, f"document.querySelectorAll('.card').length === {2 if file else 1}")
    page.click("Code", "button")
    outputs = []
    for language, command in (
        ("curl", ["bash"]),
        ("Python", [sys.executable, "-"]),
        ("Gatecast's client", [sys.executable, "-"]),
    ):
        page.click(language, "label")
        code = str(page.run("document.getElementById('code').textContent"))
        assert "characters more" not in code
        done = subprocess.run(
            command, input=code, cwd=tables, env=environment(server.store),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        outputs.append(done.stdout)
    answer = json.loads(outputs[0])
    assert answer["errors"] == []
    ids = [f["id"] for f in answer["forecasts"]]
    medians = [f["quantiles"]["0.5"] for f in answer["forecasts"]]
    page.click("Table", "button")
    shown = _rows(page)
    column = 3 if file else 2
    for row, value in zip(shown, itertools.chain(*medians), strict=True):
        assert float(row[column].replace(",", "")) == pytest.approx(value, rel=1e-3)
    lines = outputs[1].splitlines()
    for line, name, values in zip(lines, ids, medians, strict=True):
        assert line.startswith(f"{name} [")
        assert line.endswith(str(values))
    frame = pd.read_csv(io.StringIO(outputs[2]), sep=r"\s+(?=\S)", engine="python")
    np.testing.assert_allclose(frame["q0.5"], list(itertools.chain(*medians)), rtol=1e-5)


def _press_until(page: Page, key: str, condition: str, most: int = 80) -> None:
    for _ in range(most):
        if page.run(condition):
            return
        page.press(key)
    raise AssertionError(
        f"{key} never led to {condition}; at {page.run('document.activeElement.outerHTML')}"
    )


def _focused(element: str) -> str:
    return f"document.activeElement.id === {json.dumps(element)}"


def test_it_is_used_by_keyboard_alone(page: Page) -> None:
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    for element in ("file", "example", "model", "horizon"):
        _press_until(page, "Tab", _focused(element))
    page.press("End", "Backspace", "3")
    page.wait("3 steps of 1 series", seconds=SECONDS)
    _press_until(page, "Tab", "document.activeElement.parentElement.innerText === '50 %'")
    page.press("Space")
    page.wait("50, 80, 95 % intervals", seconds=SECONDS)
    _press_until(page, "Tab", _focused("asof"))
    page.press("ArrowLeft", "ArrowLeft")
    page.wait("2 steps before the end", "Mean absolute error over the 2 steps", seconds=SECONDS)
    _press_until(page, "Tab", "document.activeElement.className === 'chart'")
    page.press("ArrowRight")
    spoken = "document.getElementById('spoken').textContent"
    assert "history" in page.run(spoken)
    page.press("ArrowRight")
    said = page.run(spoken)
    for word in ("what happened", "monthly", "95 %", "to", "seasonal naive"):
        assert word in said
    page.press("Home", "End", "+", "-", "0", "Escape")
    assert page.run("document.querySelector('.readout').innerText") == ""
    _press_until(page, "Tab", _focused("tab-table"))
    page.press("ArrowRight")
    assert page.run("document.getElementById('panel-code').hidden") is False
    _press_until(page, "Tab", "document.activeElement.name === 'code'")
    page.press("ArrowRight")
    _until(page, "document.getElementById('code').innerText.includes('urlopen')")
    _press_until(page, "Tab", _focused("copy"))
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_it_fits_a_phone(page: Page, server: Server, tables: Path) -> None:
    _show(page, 390, 844, dark=False)
    page.open(server.address)
    page.wait("example-1", DONE, seconds=SECONDS)
    _drop(page, tables / "sold.csv", "store-0")
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.run("document.documentElement.scrollWidth") == 390
    beyond = """[...document.querySelectorAll('button, input, select, h2, summary, .chart')]
        .filter(e => e.offsetParent && e.getBoundingClientRect().right > 390)
        .map(e => e.outerHTML)"""
    assert page.run(beyond) == []
    small = """[...document.querySelectorAll('button, select')].filter(e => e.offsetParent)
        .map(e => e.getBoundingClientRect().height).filter(h => h < 24)"""
    assert page.run(small) == []


def test_the_dark_is_dark(page: Page) -> None:
    light = page.run("getComputedStyle(document.body).backgroundColor")
    ink = "getComputedStyle(document.body).color"
    dark_ink = page.run(ink)
    pixel = """(() => { const c = document.querySelector('.chart canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let sum = 0, count = 0;
        for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) { sum += d[i]; count++; }
        return sum / count; })()"""
    before = page.run(pixel)
    _show(page, 1280, 900, dark=True)
    _until(page, f"getComputedStyle(document.body).backgroundColor !== {json.dumps(light)}")
    assert page.run(ink) != dark_ink
    _until(page, f"{pixel} > {before} + 20")


@pytest.fixture(scope="module")
def axe() -> str:
    found = next((path for path in AXE if path.is_file()), None)
    if found is None:
        pytest.skip("no axe-core: npm install --no-save axe-core, or GATECAST_AXE names axe.min.js")
    return found.read_text()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(
    page: Page, server: Server, tables: Path, axe: str, width: int, dark: bool
) -> None:
    _show(page, width, 900, dark=dark)
    page.open(server.address)
    page.wait("example-1", DONE, seconds=SECONDS)
    states: list[Callable[[], None]] = [
        lambda: _drop(page, tables / "sold.csv", "store-0"),
        lambda: page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })"),
        lambda: _set(page, "asof", "-6"),
        lambda: page.wait("Mean absolute error", seconds=SECONDS) and None,
        lambda: _set(page, "horizon", "99"),
        lambda: page.wait("is beyond 6", seconds=SECONDS) and None,
        lambda: page.click("Code", "button"),
    ]
    page.run(axe + "; null")
    for reach in states:
        reach()
        found = page.run(
            """axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(
                v => [v.id, v.nodes.map(n => [n.html, n.failureSummary])]))"""
        )
        assert found == []


def test_a_protected_service_is_asked_with_the_key_which_stays_in_memory(
    browser: Page, server: Server
) -> None:
    with Server(server.store, "monthly", GATECAST_PROTECT="true") as guarded:
        browser.open(guarded.address)
        browser.wait("This service answers to those who have its key", seconds=SECONDS)
        assert browser.run(_focused("key")) is True
        browser.press(*"wrong", "Enter")
        browser.wait("the key is not right", "Type it again", seconds=SECONDS)
        browser.press(*KEY, "Enter")
        browser.wait("example-1", DONE, seconds=SECONDS)
        browser.click("Code", "button")
        code = browser.run("document.getElementById('code').innerText")
        assert "$GATECAST_API_KEY" in code
        everything = """JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie,
            location.href, performance.getEntriesByType('resource').map(r => r.name),
            document.documentElement.outerHTML])"""
        assert KEY not in browser.run(everything)
        assert browser.run("document.getElementById('key').value") == ""
