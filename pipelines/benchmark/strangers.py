"""As a stranger: public sets with plain integer stamps and nothing said but the horizon.

Whole, and as subsets drawn from them, beside AutoETS, AutoTheta, the mean of the two and seasonal
naive, who are told the season. One horizon each, the shortest of a set, from one origin: the first
of the test part, or, to choose rules by, the last horizon of the histories. Every row is kept as
soon as it is scored, by what it was made from and by the code that made it: a broken run goes on,
and altered code is scored anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.config import ForecasterConfig
from forecasting.data.calendar import Frequency
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.schema import Schema
from pipelines.benchmark import peers
from pipelines.benchmark.scores import LEVELS, score_task, summary
from pipelines.data.datasets import Task, inside, load
from pipelines.data.profile import panel_digest
from pipelines.machine.files import aside, write_text
from pipelines.machine.say import Say, silent

# Draws of subsets of each size; a set with fewer series is taken whole only.
DRAWS: Mapping[int, int] = {1: 5, 10: 5, 50: 5, 150: 5}
QUICK: Mapping[int, int] = {1: 3, 10: 1, 50: 1}
# Stands for a whole set among the sizes.
WHOLE = 0
# Raised whenever a row would come out differently from the same forecasts.
ROWS_VERSION = 1
ROWS = Path("runs/benchmark/strangers")
CACHE = Path("runs/cache/benchmark/strangers")
MEAN = "mean of both"
PEERS = (peers.AUTO_ETS, peers.AUTO_THETA, MEAN, peers.SEASONAL_NAIVE)


@dataclass(frozen=True)
class Row:
    """One panel, forecast once.

    Attributes
    ----------
    size : series drawn, `WHOLE` for all. draw : which draw.
    mase : ours. peers : theirs, by name. coverage : share of what came inside the 80 % interval.
    chosen : what was decided for the panel: season, start, share and weights of classical
        forecasts, and the account of the choice.
    """

    task: str
    set: str
    size: int
    draw: int
    mase: float
    peers: dict[str, float]
    coverage: float
    seconds: float
    chosen: dict[str, Any] = field(default_factory=dict)


def stranger(task: Task, *, within: bool = False) -> Task:
    """A task of one origin, whose panel has integer stamps and no covariates.

    ``within`` : of the last horizon before the test part, which is cut off.
    """
    judged = inside(task) if within else task
    back = int(judged.origins[0])
    count, rows = len(judged.full), judged.full.rows
    panel = replace(
        judged.full,
        start=np.zeros(count, np.int64),
        freq=Frequency.parse("step"),
        tz=None,
        schema=Schema(),
        past=np.empty((rows, 0)),
        future=np.empty((rows, 0)),
        horizon=None,
        static=np.empty((count, 0)),
    )
    return replace(judged, full=panel, train_back=back, origins=np.array([back]), static=None)


def drawn(task: Task, size: int, draw: int) -> Array:
    """Positions of some series of a task, rising, the same for the same draw."""
    generator = np.random.default_rng(1000 * size + draw)
    return np.sort(generator.permutation(len(task.full))[:size])


def measured(
    names: Sequence[str],
    draws: Mapping[int, int],
    *,
    within: bool = False,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    say: Say = silent,
) -> Iterator[Row]:
    """Rows of sets and subsets, scored or as they were kept.

    Parameters
    ----------
    names : of sets. draws : how many of each size; `WHOLE` takes sets as they are.
    within : score inside the histories. settings : of the forecaster, over what it chooses.
    """
    for name in names:
        task = stranger(load(name)[0], within=within)
        theirs = Peers(task)
        for size, times in draws.items():
            if size and size >= len(task.full):
                continue
            for draw in range(times):
                places = drawn(task, size, draw) if size else np.arange(len(task.full))
                say(f"{task.name}: {size or 'all'} series, draw {draw + 1}")
                yield _row(task, theirs, places, (size, draw), settings or {}, device)


class Peers:
    """Point forecasts of peers for the series of a task, each series made once and kept."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def points(self, peer: str, kept: Array) -> Array:
        """[n, H] of the series at positions ``kept``."""
        if peer == MEAN:
            both = [self.points(one, kept) for one in (peers.AUTO_ETS, peers.AUTO_THETA)]
            return np.mean(both, axis=0)
        path = CACHE / f"{peers.kept_as(self.task, peer)}.parquet"
        points = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
        missing = np.setdiff1d(kept, points.index.to_numpy(np.int64))
        if len(missing):
            fresh = self._made(peer, missing)
            points = pd.concat([points, fresh]).sort_index()
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside(path) as scratch:
                points.to_parquet(scratch)
        return points.loc[kept].to_numpy(np.float64)

    def _made(self, peer: str, missing: Array) -> pd.DataFrame:
        part = replace(self.task, full=self.task.full.select(missing))
        history = part.history.tail(self.task.about.statistical_rows)
        medians = peers.predictor(part, peer)(history).quantiles[..., LEVELS.index(0.5)]
        columns = [str(step) for step in range(1, self.task.horizon + 1)]
        return pd.DataFrame(medians, index=missing, columns=columns)


def _row(
    task: Task,
    theirs: Peers,
    kept: Array,
    place: tuple[int, int],
    settings: Mapping[str, Any],
    device: str,
) -> Row:
    part = replace(task, full=task.full.select(kept))
    config = ForecasterConfig(horizon=task.horizon).replace(**settings)
    path = ROWS / f"{_key(part, place, config)}.json"
    if path.is_file():
        return Row(**json.loads(path.read_text("utf-8")))
    scored = {}
    for peer in PEERS:
        predict = partial(_told, theirs.points(peer, kept))
        scored[peer] = summary(score_task(part, predict))["mase"]
    row = _ours(part, config, place, scored, device)
    write_text(json.dumps(asdict(row), indent=1), _made_folder(path))
    return row


def _ours(
    part: Task,
    config: ForecasterConfig,
    place: tuple[int, int],
    scored: dict[str, float],
    device: str,
) -> Row:
    from forecasting.forecaster import Forecaster

    began = time.perf_counter()
    forecaster = Forecaster.train(part.train, config, device=device)
    table = score_task(
        part,
        lambda panel: forecaster.predict_panel(panel, quantiles=LEVELS),
        context=forecaster.context,
    )
    scores, used = summary(table), forecaster.config
    chosen = {
        "season": used.season,
        "start": used.training.start,
        "blend": used.model.blend,
        "pool": dict(used.model.pool),
        "choice": forecaster.choice.to_json(),
    }
    return Row(
        task=part.name.split(",")[0],
        set=part.about.name,
        size=place[0],
        draw=place[1],
        mase=scores["mase"],
        peers=scored,
        coverage=scores["coverage80"],
        seconds=round(time.perf_counter() - began, 3),
        chosen=chosen,
    )


def _told(points: Array, panel: Panel) -> Forecast:
    """Points as a forecast without quantiles."""
    empty = np.empty((*points.shape, 0))
    return Forecast(
        panel.ids, panel.freq.shift(panel.last, 1), panel.freq, panel.tz, points, empty, ()
    )


def _made_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _key(part: Task, place: tuple[int, int], config: ForecasterConfig) -> str:
    about = {
        "rows": ROWS_VERSION,
        "data": panel_digest(part.full),
        "origin": int(part.origins[0]),
        "season": part.about.measure_season,
        "point": part.about.point,
        "config": config.model_dump(mode="json"),
        "code": _code(),
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return f"{part.name.replace(', ', '-').replace(' ', '_')}-{place[0]}-{place[1]}-{digest}"


@cache
def _code() -> str:
    """SHA-256 over the library's modules and the card of what comes pretrained."""
    root = Path(str(resources.files("forecasting")))
    sha = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("card.json")]):
        sha.update(str(path.relative_to(root)).encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()
