"""``gatecast demo``: the whole way on real data, from a raw table to forecasts over HTTP.

1,428 monthly series of the M3 competition; the official last 18 months of each stay aside until
the registered champion has forecast them through the service.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.scale import mase_scale
from forecasting.errors import ConfigError, DataError, GatecastError
from forecasting.evaluation import baselines, metrics
from forecasting.quantiles import ASKED, JUDGED
from pipelines.config import load_config
from pipelines.demo.processes import command, free_port, pick_port, running, ui_command_line
from pipelines.machine.files import write_table, write_text
from pipelines.machine.say import Progress, Say, no_progress
from pipelines.training.gate import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forecasting.data.panel import Panel
    from pipelines.training.session import Outcome


DATA_SET = "m3_monthly"
SETTINGS = Path(__file__).with_name("m3_monthly.yaml")
SEASON = 12
LONE_REQUESTS = 30  # of one series each, for the time of a forecast
SHOWN_SERIES, SHOWN_STEPS = 4, 6
# sMAPE on these 18 months, from the competition's tables (Makridakis and Hibon, 2000).
PUBLISHED = {"Naive2": 16.89, "Theta": 13.89}


@dataclass
class DemoResult:
    """What the demo prints and writes."""

    summary: dict[str, Any]
    scores: list[tuple[str, float, float | None, str]]
    shown: list[tuple[str, Array, Array, Array, Array]]
    summary_path: Path


def silent_bar() -> AbstractContextManager[Progress]:
    """A bar that shows nothing."""
    return nullcontext(no_progress)


@contextmanager
def demo(
    out: Path,
    *,
    port: int,
    port_given: bool = True,
    sets: Sequence[str] = (),
    say: Say = print,
    bar: Callable[[], AbstractContextManager[Progress]] = silent_bar,
) -> Iterator[tuple[DemoResult, str]]:
    """Run all of it; inside the block the service is up, at the address given beside the result.

    Parameters
    ----------
    out
        Folder of the picture and of ``summary.json``.
    port
        Where the service listens; another free one is taken unless the user asked for this one.
    """
    if port_given and not free_port("127.0.0.1", port):
        raise ConfigError(
            f"port {port} of 127.0.0.1 is in use: stop what uses it, or choose another with --port"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror}") from error
    began = time.monotonic()
    task, table = _raw_table(out)
    config = load_config(SETTINGS, [f"data.source={json.dumps(str(table))}", *sets])
    say(f"M3 competition: {len(task.full):,} monthly series, the last {task.horizon} months aside")
    fetched = time.monotonic() - began
    for line in first_forecasts(task.train):
        say(line)
    from pipelines.training.train import train

    # A repeated demo trains again and makes the next version, although nothing changed.
    with bar() as progress:
        outcome = train(
            config, force=True, trigger="demo", say=say, progress=progress, tags={"demo": "true"}
        )
    if outcome.version is None or not outcome.promoted:
        reason = outcome.decision.reason if outcome.decision else "nothing was registered"
        raise RefusedError(f"the gate did not let the demo's model into production: {reason}")
    with ExitStack() as stack:
        began = time.monotonic()
        port = port if port_given else pick_port("127.0.0.1", port)
        url = f"http://127.0.0.1:{port}"
        say(f"starting the service on {url}")
        service = command([config.name], host="127.0.0.1", port=port)
        stack.enter_context(running(service, f"{url}/readyz", name="service"))
        say("posting every series to /v1/forecast")
        answer = _post(url, _body(task.train, config.name, config.horizon))
        served = time.monotonic() - began
        lone = _lone_milliseconds(url, task.train, config.name, config.horizon)
        seconds = dict(outcome.seconds)
        seconds["ingest"] = round(seconds.get("ingest", 0.0) + fetched, 3)
        seconds["serve"] = round(served, 3)
        yield _result(task, outcome, answer, seconds, lone, out), url


def _raw_table(out: Path) -> tuple[Any, Path]:
    """The official task, and its history as a raw table on disk, as a user's data would be."""
    from pipelines.data.datasets import load

    (task,) = load(DATA_SET)
    frame = task.train.to_frame()
    return task, write_table(frame, out / f"{DATA_SET}.parquet").resolve()


def first_forecasts(panel: Panel) -> Iterator[str]:
    """Forecasts of a few series before anything is trained, and with nothing that training needs.

    By the pretrained network, in lines for a person.
    """
    from forecasting.zero.predictor import Zero

    places = np.linspace(0, len(panel) - 1, SHOWN_SERIES + 2).astype(int)[1:-1]
    forecast = Zero.load().predict_panel(panel.select(places), SHOWN_STEPS, season=SEASON)
    yield f"before any training, by the pretrained network, the next {SHOWN_STEPS} months of:"
    middle = forecast.levels.index(0.5)
    for name, quantiles in zip(forecast.ids, forecast.quantiles, strict=True):
        medians = "  ".join(f"{value:,.0f}" for value in quantiles[:, middle])
        low, high = quantiles[-1, 0], quantiles[-1, -1]
        yield f"  {name}: {medians}  (80 % interval of the last: {low:,.0f} to {high:,.0f})"


def _body(panel: Panel, model: str, horizon: int) -> dict[str, Any]:
    """A request for every series of a panel without covariates."""
    bounds = zip(panel.offsets[:-1], panel.offsets[1:], strict=True)
    series = [
        {"id": str(name), "start": int(start), "y": panel.y[a:b].tolist()}
        for name, start, (a, b) in zip(panel.ids, panel.start, bounds, strict=True)
    ]
    return {"model": model, "horizon": horizon, "quantiles": list(JUDGED), "series": series}


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/v1/forecast",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")[:300]
        raise GatecastError(f"the service answered {error.code}: {text}") from error
    except (urllib.error.URLError, OSError) as error:
        raise GatecastError(f"the service did not answer: {error}") from error


def _lone_milliseconds(url: str, panel: Panel, model: str, horizon: int) -> float:
    """Median time of a request with one series, over a connection that stays open."""
    import httpx

    body = _body(panel.select(np.arange(1)), model, horizon)
    times = []
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        for _ in range(LONE_REQUESTS):
            began = time.perf_counter()
            client.post("/v1/forecast", json=body).raise_for_status()
            times.append(1000.0 * (time.perf_counter() - began))
    return round(float(np.median(times)), 3)


def _result(
    task: Any,
    outcome: Outcome,
    answer: dict[str, Any],
    seconds: dict[str, float],
    lone: float,
    out: Path,
) -> DemoResult:
    history, horizon = task.train, task.horizon
    actual = _last_rows(task.full, horizon)
    quantiles = _served_quantiles(answer, history)
    middle = JUDGED.index(0.5)
    scale = mase_scale(history.y, history.offsets, SEASON)

    def scored(forecast: Array) -> tuple[float, float]:
        return (
            metrics.average(metrics.smape(actual, forecast)),
            metrics.average(metrics.mase(actual, forecast, scale)),
        )

    smape, mase = scored(quantiles[..., middle])
    naive2 = scored(_median(baselines.naive2(history, horizon, season=SEASON, levels=(0.5,))))
    seasonal = scored(
        _median(baselines.seasonal_naive(history, horizon, season=SEASON, levels=(0.5,)))
    )
    winner = f"Gatecast, {outcome.winner} ({outcome.name} version {outcome.version})"
    scores: list[tuple[str, float, float | None, str]] = [
        (winner, smape, mase, "over HTTP"),
        ("Theta", PUBLISHED["Theta"], None, "published"),
        ("Naive2", *naive2, f"here; published {PUBLISHED['Naive2']}"),
        ("seasonal naive", *seasonal, "here"),
    ]
    chosen = _typical(metrics.smape(actual, quantiles[..., middle]))
    examples = [
        (
            str(history.ids[i]),
            history.y[history.offsets[i] : history.offsets[i + 1]],
            actual[i],
            quantiles[i],
            history.freq.stamps(history.start[i : i + 1], 0, 1)[0],
        )
        for i in chosen
    ]
    picture = _picture(examples, out, smape)
    summary = {
        "smape": round(smape, 4),
        "mase": round(mase, 4),
        "smape_naive2": round(naive2[0], 4),
        "model": {
            "name": outcome.name,
            "version": int(outcome.version or 0),
            "run_id": outcome.run_id,
        },
        "served_by": answer["model"],
        "candidates": {
            name: {
                "run_id": run,
                "smape_backtest": round(outcome.evaluation.scores_of(name)["smape"], 4),
            }
            for name, run in outcome.candidate_run_ids.items()
        },
        "seconds": seconds,
        "forecast_http_ms": lone,
        "picture": str(picture),
    }
    path = out / "summary.json"
    write_text(json.dumps(summary, indent=2) + "\n", path)
    return DemoResult(summary, scores, examples, path)


def _last_rows(panel: Panel, horizon: int) -> Array:
    """[n, h] the last rows of each series."""
    rows = panel.offsets[1:, None] + np.arange(-horizon, 0)
    return np.asarray(panel.y[rows])


def _served_quantiles(answer: dict[str, Any], panel: Panel) -> Array:
    """[n, h, Q] in the panel's order."""
    if answer["errors"]:
        first = answer["errors"][0]
        raise DataError(
            f"{len(answer['errors'])} series were refused; first {first['id']}: {first['detail']}"
        )
    by_id = {forecast["id"]: forecast["quantiles"] for forecast in answer["forecasts"]}
    rows = [[by_id[str(name)][f"{level:g}"] for level in JUDGED] for name in panel.ids]
    return np.moveaxis(np.asarray(rows, np.float64), 1, 2)


def _median(forecast: Any) -> Array:
    return np.asarray(forecast.quantiles[..., 0])


def _typical(errors: Array) -> Array:
    """Series across the range of errors, so that nobody sees the best ones only."""
    order = np.argsort(errors)
    shares = np.linspace(0.1, 0.9, SHOWN_SERIES)
    return np.asarray(order[(shares * (len(order) - 1)).astype(int)])


def _picture(shown: list[tuple[str, Array, Array, Array, Array]], out: Path, smape: float) -> Path:
    from forecasting.plotting import Fan, fan_chart

    fans = []
    for name, y, actual, quantiles, start in shown:
        steps = int(start[0]) + np.arange(len(y) + len(actual))
        first = max(0, len(y) - 4 * SEASON)
        own = metrics.smape(actual[None], quantiles[None, :, JUDGED.index(0.5)])[0]
        fans.append(
            Fan(
                title=f"{name} (sMAPE {own:.1f})",
                history_ds=steps[first : len(y)],
                history_y=y[first:],
                ds=steps[len(y) :],
                levels=JUDGED,
                quantiles=quantiles,
                actual=actual,
            )
        )
    path = out / "forecast.png"
    title = f"M3 monthly, 18 months ahead: sMAPE {smape:.2f} over all series"
    fan_chart(fans, title=title).savefig(path)
    return path


def print_result(result: DemoResult, service: str, ui: str) -> None:
    """The tables of the end of the demo; ``service`` and ``ui`` say where both are, or how to."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(box=None, title="Forecasts against what happened", title_justify="left")
    for heading in ("series", "step", "actual", "forecast", "80 % interval"):
        table.add_column(heading, justify="left" if heading == "series" else "right")
    low, middle, high = (JUDGED.index(level) for level in ASKED)
    for name, _, actual, quantiles, _ in result.shown:
        for step in range(SHOWN_STEPS):
            values = quantiles[step]
            table.add_row(
                name if step == 0 else "",
                str(step + 1),
                f"{actual[step]:,.0f}",
                f"{values[middle]:,.0f}",
                f"{values[low]:,.0f} to {values[high]:,.0f}",
            )
    console.print(table)
    scores = Table(box=None, title="Official holdout, 18 months", title_justify="left")
    for heading in ("model", "sMAPE", "MASE", "where from"):
        scores.add_column(heading, justify="right" if heading in ("sMAPE", "MASE") else "left")
    for name, smape, mase, source in result.scores:
        scores.add_row(name, f"{smape:.2f}", "" if mase is None else f"{mase:.3f}", source)
    console.print(scores)
    seconds = result.summary["seconds"]
    console.print("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    console.print(f"one series over HTTP: {result.summary['forecast_http_ms']:.2f} ms (median)")
    console.print(f"picture: {result.summary['picture']}   summary: {result.summary_path}")
    console.print(f"service: {service}   MLflow: {ui}")


def mlflow_pages(port: int) -> tuple[list[str], str, str]:
    """MLflow's pages beside the demo: command line, address, and where the runs are compared."""
    from pipelines.tracking.links import experiment_of, runs_page
    from pipelines.tracking.store import connect

    port = pick_port("127.0.0.1", port)
    address = f"http://127.0.0.1:{port}"
    experiment = experiment_of(connect())
    page = runs_page(address, experiment.experiment_id if experiment is not None else None)
    return ui_command_line("127.0.0.1", port), address, page
