"""Rules that choose what a user left open: from frequency, lengths, covariates, series.

The rules are a user's own: they look at nothing but the panel, and docs/accuracy.md says them in
words.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from forecasting import pretrained
from forecasting.arrays import Array
from forecasting.classical.pool import LONGEST_SEASON
from forecasting.config import MOST_MEMBERS, Classical, ForecasterConfig
from forecasting.data.calendar import calendar_names
from forecasting.data.mapped import least
from forecasting.data.panel import Panel
from forecasting.data.seasons import find_seasons, told
from forecasting.data.strides import CLOSED, closed, strides
from forecasting.errors import ConfigError, DataError
from forecasting.parts import CLASSICAL
from forecasting.resolved import Resolved
from forecasting.transforms import TRANSFORMS
from forecasting.windows.conditioning import own_spreads, usual_spread

# Seasons that the typical history must hold for its season to be learned.
SEASONS_NEEDED = 2
# Rows of the typical history under which it is short.
SHORT_HISTORY = 600
# Seasons in the typical history from which on one is read as a segment; half as many do for a
# season of LONG_SEASON steps or more.
SEASONS_TO_SEGMENT = 60
LONG_SEASON = 20
# Recurrent steps a short season is read in.
SEGMENTS_PER_SEASON = 4
# Rows of the typical history from which on it is long. It holds its seasons many times over: the
# window widens to several of the longest, and the linear path through it does most of the work. The
# noise there is large and the same in every window: weights and inputs are held against it, and the
# squared error has a say in the loss.
LONG_HISTORY = 4000
# Longest seasons that the window of a long history shows.
LONG_WINDOW = 3
# Share of units dropped between the layers, long histories.
LONG_DROPOUT = 0.3
# Weight decay of the optimiser, long histories.
LONG_DECAY = 0.1
# Noise on scaled inputs, long histories, in standard deviations.
LONG_NOISE = 0.2
# Weight of the squared error, long histories.
SQUARES = 0.5
# Series under which a panel of long histories repeats itself.
FEW_SERIES = 16
# Weight decay of the optimiser elsewhere.
DECAY = 1e-4
# Share of classical forecasts in the forecasts of short histories, where validation says nothing.
BLEND = 0.6
# The same where it is the Theta forecast of a window alone, which says less.
WINDOW_BLEND = 0.4
# Series up to which a pool is worth its time: it gives most where a network has little to learn
# from, and takes some hundredths of a second for a lone request.
POOL_SERIES = 1000
# Seasons at the end of a history that classical forecasts read, and rows at least.
POOL_SEASONS = 20
LEAST_POOL_ROWS = 100
# Share of units dropped between the layers, short histories.
DROPOUT = 0.1
# The networks that come with the package, by the season they know, in steps.
STARTS = {1: "yearly", 4: "quarterly", 12: "monthly", 24: "hourly"}
# Series, and rows, up to which a panel may begin from them.
START_SERIES = 250
START_ROWS = 100_000
# Rows from which on they are trained on.
TUNED_ROWS = 2_000
# Optimiser steps of that, and their rate.
TUNED_STEPS = 150
TUNED_RATE = 5e-4
# Share of the way from the start that is kept.
TUNED_SHARE = 0.5
# Recurrent steps read at most while they are trained on.
TUNED_READ = 20
# Weights of the median's absolute error, and of its sMAPE where logs are read, beside the pinball
# loss of all quantiles.
MEDIAN_WEIGHT = 0.5
SMAPE_WEIGHT = 3.0
# Horizons held back to judge by, at least; and in histories that spare them, at most so many, up to
# one in WINDOWS_SHARE of the rows.
LEAST_WINDOWS = 2
MOST_WINDOWS = 8
WINDOWS_SHARE = 8
# Mean absolute deviation of a series' logs from which its level counts as moving.
LEVEL_MOVES = 0.01
# Settings that leave a network's shape, and its training, to the rules.
BESIDE_THE_NETWORK = frozenset(
    {"blend", "pool", "pool_rows", "transform", "usual_spread", "nonnegative", "strides"}
)
BESIDE_TRAINING = frozenset(
    {
        "start",
        "seed",
        "members",
        "minutes",
        "threads",
        "at_once",
        "graphs",
        "validation",
        "validation_windows",
        "precision",
    }
)

LOG = logging.getLogger(__name__)


def seasons_of(panel: Panel, config: ForecasterConfig) -> tuple[int, tuple[int, ...]]:
    """The main season, 1 for none, and those that the typical history holds three times; steps.

    The user's main season goes before that which stamps say; where they say none, it is found in
    the values. It is 1 where the typical history does not hold it twice. What was found is logged
    in one line.
    """
    main, seasons = config.season, panel.freq.seasons
    if main is None:
        main = panel.freq.season
        # Where stamps say it the values are asked only for who reads the log.
        if not seasons or LOG.isEnabledFor(logging.INFO):
            detected = find_seasons(panel)
            LOG.info("%s", told(detected, seasons))
        if not seasons:
            seasons = tuple(s.period for s in detected)
            main = next(iter(seasons), 1)
    typical = int(np.median(panel.lengths))
    main = main if typical >= SEASONS_NEEDED * main else 1
    return main, tuple(s for s in seasons if typical >= 3 * s)


def season_of(panel: Panel, config: ForecasterConfig) -> int:
    """The main season in steps; 1 when the histories are too short to hold it twice."""
    return seasons_of(panel, config)[0]


def resolve(config: ForecasterConfig, panel: Panel) -> Resolved:
    """The settings, those that are ``None`` and go by the data replaced by what suits them.

    Raises
    ------
    DataError : a panel without series.
    """
    if len(panel) == 0:
        raise DataError("the panel has no series: nothing to train on")
    model, horizon = config.model, config.horizon
    season, seasons = seasons_of(panel, config)
    typical = int(np.median(panel.lengths))
    seasons = seasons or (season,)
    longest = max(seasons) if max(seasons) <= 400 else season
    short = typical < SHORT_HISTORY
    long = typical >= LONG_HISTORY and not panel.schema.future
    transform = model.transform or _transform(panel, config)
    logs = TRANSFORMS[transform].grows
    segment = model.segment or (1 if model.feeds_back else _segment(season, typical))
    window = model.window or _window(season, longest, segment, horizon, typical)
    if long and model.window is None:
        window = LONG_WINDOW * longest
    window = max(window, segment)
    scale_window = model.scale_window or max(min(season, 400), min(8, typical))
    scale_window = max(scale_window, window)
    pool = _pool(config, panel, season, short) if model.pool is None else model.pool
    reading = max(4 * season, 2 * longest, min(2 * horizon, 16 * season), 32)
    reading = min(longest if long else reading, max(typical - window, segment))
    steps = model.steps or int(np.clip(reading // segment, 4, 64))
    chosen = config.replace(
        freq=panel.freq.alias,
        season=season,
        model={
            "embedding": window > 1 if model.embedding is None else model.embedding,
            "segment": segment,
            "window": window,
            "scale_window": scale_window,
            "steps": steps,
            "lags": _lags(panel, season, window, typical, horizon)
            if model.lags is None
            else model.lags,
            "calendar": bool(calendar_names(panel.freq)) if model.calendar is None
            else model.calendar,
            "cycle": model.cycle or 0,
            "transform": transform,
            "level": model.level or ("mean" if season > 1 or logs else "last"),
            "spread": model.spread or "mad",
            "dropout": _dropout(short, long) if model.dropout is None else model.dropout,
            "blend": _blend(config, panel, short, pool) if model.blend is None else model.blend,
            "pool": pool,
            "pool_rows": model.pool_rows
            or int(np.clip(POOL_SEASONS * season, LEAST_POOL_ROWS, SHORT_HISTORY)),
            "usual_spread": model.usual_spread
            or usual_spread(panel.y, panel.offsets, transform),
            "nonnegative": least(panel.y) >= 0.0
            if model.nonnegative is None else model.nonnegative,
            "strides": strides_of(panel) if model.strides is None else model.strides,
        },
        training={
            "loss": _loss(config, transform, long),
            **_linear_mix(config, long),
            "max_steps": config.training.max_steps or _steps_of_training(panel, long),
            "batch_size": config.training.batch_size
            or int(np.clip(len(panel), 16, 64)),
            "epoch_steps": config.training.epoch_steps or 50,
            "weight_decay": (LONG_DECAY if long else DECAY)
            if config.training.weight_decay is None else config.training.weight_decay,
            "noise": (LONG_NOISE if long else 0.0)
            if config.training.noise is None else config.training.noise,
            "validation_windows": config.training.validation_windows
            or int(np.clip(typical // (WINDOWS_SHARE * horizon), LEAST_WINDOWS, MOST_WINDOWS)),
            "start": "none",
        },
    )  # fmt: skip
    return Resolved.parse(chosen.model_dump(exclude_unset=True))


def started(asked: ForecasterConfig, config: Resolved, panel: Panel) -> Resolved | None:
    """The settings of a panel that may begin from pretrained networks; None for one that may not.

    Small panels may, without covariates known ahead, with the season and at most the horizon of a
    start, where the user left the network and the length of its training to the rules.
    ``training.start`` is ``shipped`` in them where the user leaves open what becomes of the start.

    Parameters
    ----------
    asked : the user's settings; config : the same resolved.

    Raises
    ------
    ConfigError : ``training.start`` asks for a start that there is none of, or beside settings
        that the start would overrule.
    """
    named = asked.training.start
    if named == "none":
        return None
    season = panel.freq.season if panel.freq.seasons else config.season
    name = STARTS.get(asked.season or season)
    pretraining = pretrained.available().get(name or "")
    why = _unfit(asked, panel, pretraining, asked.season or season)
    if why is None and named is None and (
        len(panel) > START_SERIES or panel.rows > START_ROWS
    ):  # fmt: skip
        why = "the panel is large"
    if why is not None or pretraining is None or name is None:
        if named is None:
            return None
        raise ConfigError(f"training.start = {named}: {why}; set it to none")
    cells, start = pretrained.cells(name), Resolved.plainest(pretraining)
    members = max(config.training.members, len(cells))
    chosen = config.replace(
        season=start.season,
        model={
            **start.model.model_dump(),
            **{name: getattr(config.model, name) for name in BESIDE_THE_NETWORK},
            "blend": (BLEND if config.model.pool else WINDOW_BLEND)
            if asked.model.blend is None else asked.model.blend,
        },
        training={
            "start": named or "shipped",
            "loss": {**start.training.loss.model_dump(),
                     "smape": start.training.loss.smape if config.model.y_transform.ratios
                     else 0.0},
            "cell_mix": cells,
            "members": members,
            "max_steps": asked.training.max_steps or TUNED_STEPS,
            "learning_rate": asked.training.learning_rate
            if "learning_rate" in asked.training.given else TUNED_RATE,
        },
    )  # fmt: skip
    lost = _overruled(asked, chosen) if named is not None else []
    if lost:
        raise ConfigError(
            f"training.start = {named}: {', '.join(lost)} are not the start's; leave them out, "
            "or set training.start to none"
        )
    return chosen


def _open(asked: ForecasterConfig) -> bool:
    """Whether a user left network and training to the rules."""
    return not (asked.model.given - BESIDE_THE_NETWORK or asked.training.given - BESIDE_TRAINING)


def _overruled(asked: ForecasterConfig, chosen: Resolved) -> list[str]:
    """What a user gave and a start would not keep, each as key = value."""
    lost = []
    for section, settings, final in (
        ("model", asked.model, chosen.model),
        ("training", asked.training, chosen.training),
    ):
        for name in sorted(settings.given):
            value = getattr(settings, name)
            if value != getattr(final, name):
                text = value.model_dump(exclude_unset=True) if name == "loss" else value
                lost.append(f"{section}.{name} = {text}")
    cell, cells = asked.model.cell, set(chosen.training.cell_mix)
    cell_alone = "cell" in asked.model.given and "cell_mix" not in asked.training.given
    if cell_alone and cell == chosen.model.cell and cells != {cell}:
        lost.insert(0, f"model.cell = {cell}")
    return lost


def _unfit(
    asked: ForecasterConfig, panel: Panel, known: ForecasterConfig | None, season: int
) -> str | None:
    """Why a panel cannot begin from a start; None where it can."""
    if known is None:
        return f"no start knows the season {season}"
    if panel.schema.future:
        return "a start reads no covariates known ahead"
    if asked.horizon > known.horizon:
        return f"horizon = {asked.horizon} is beyond the start's {known.horizon}"
    if asked.training.start is None and not _open(asked):
        return "the network or its training is set"
    return None


def strides_of(panel: Panel) -> tuple[int, ...]:
    """Longer steps than the panel's that some of its series keep to, and `CLOSED`."""
    steps = np.unique(strides(panel))
    left_out = (CLOSED,) if (closed(panel) >= 0).any() else ()
    return (*left_out, *(int(stride) for stride in steps if stride != 1))


def _transform(panel: Panel, config: ForecasterConfig) -> str:
    """Logs for positive values whose level moves; units otherwise.

    Where the typical series moves by less than `LEVEL_MOVES` of its level, logs would only hide
    how much it does.
    """
    if config.model.counts:
        return "identity"
    low = least(panel.y)
    if low == 0 and panel.schema.future and _heavy(panel.y[~np.isnan(panel.y)]):
        return "log1p"
    if not low > 0:
        return "identity"
    _, moves = own_spreads(panel.y, panel.offsets, "log")
    # A series that does not move says nothing against its logs.
    moves = np.where(moves > 0, moves, 1.0)
    return "log" if np.median(moves) >= LEVEL_MOVES else "identity"


def _blend(
    config: ForecasterConfig, panel: Panel, short: bool, pool: dict[Classical, float]
) -> float:
    """Classical forecasts know nothing of covariates and counts."""
    alone = config.model.counts or bool(panel.schema.future)
    if not short or alone:
        return 0.0
    return BLEND if pool else WINDOW_BLEND


def _pool(
    config: ForecasterConfig, panel: Panel, season: int, short: bool
) -> dict[Classical, float]:
    """The classical forecasts of short histories, in equal parts; of many a window's Theta."""
    if config.model.counts or panel.schema.future or not short or len(panel) > POOL_SERIES:
        return {}
    smoothed = 1 < season <= LONGEST_SEASON
    names = [name for name, about in CLASSICAL.items() if smoothed or not about.seasonal]
    return {name: 1.0 / len(names) for name in names}


def _loss(config: ForecasterConfig, transform: str, long: bool) -> dict[str, Any]:
    """The median is what is scored most: it gets terms of its own, shares too where logs do."""
    loss = config.training.loss
    if config.model.head != "quantiles" or "loss" in config.training.given:
        return loss.model_dump() | {"mae": loss.mae or 0.0}
    shares = SMAPE_WEIGHT if TRANSFORMS[transform].ratios else 0.0
    return loss.model_dump() | {
        "mae": MEDIAN_WEIGHT,
        "smape": shares,
        "mse": SQUARES if long else 0.0,
    }


def _linear_mix(config: ForecasterConfig, long: bool) -> dict[str, Any]:
    """Long histories hold enough to solve a linear median: a member more has one."""
    members = config.training.members
    open_to_more = long and config.model.skip and members < MOST_MEMBERS
    if config.training.linear_mix is not None or not open_to_more:
        return {"linear_mix": config.training.linear_mix or ()}
    return {"linear_mix": ("trained",) * members + ("solved",), "members": members + 1}


def _dropout(short: bool, long: bool) -> float:
    return DROPOUT if short else LONG_DROPOUT if long else 0.0


def _heavy(values: Array) -> bool:
    return bool(np.percentile(values, 99) > 8 * max(float(np.median(values)), 1e-12))


def _segment(season: int, typical: int) -> int:
    """A day of hours, a week of days; a quarter of a year of months, or of few years' weeks."""
    enough = SEASONS_TO_SEGMENT // 2 if season >= LONG_SEASON else SEASONS_TO_SEGMENT
    if typical >= enough * season and season > 1:
        return season
    return max(season // SEGMENTS_PER_SEASON, 1)


def _window(season: int, longest: int, segment: int, horizon: int, typical: int) -> int:
    if season == 1:
        return int(np.clip(min(2 * horizon, typical // 3), 2, 12))
    window = max(2 * season, min(4 * season, typical // 20), longest, segment)
    return int(max(min(window, typical // 2), season, segment))


def _lags(panel: Panel, season: int, window: int, typical: int, horizon: int) -> tuple[int, ...]:
    year = {"W": 52, "D": 364, "B": 260}.get(panel.freq.alias.split("-")[0])
    if year and window < year and typical > 2 * year + horizon:
        return (year,)
    return ()


def _steps_of_training(panel: Panel, long: bool) -> int:
    """Enough passes for the data at hand; long histories of few series repeat themselves."""
    if long and len(panel) < FEW_SERIES:
        return 300
    if panel.schema.future and len(panel) >= FEW_SERIES:
        # Every origin decodes the covariates of its whole horizon: a step costs several others.
        return 400
    return int(np.clip(24 * np.sqrt(panel.rows / 100), 300, 1200))
