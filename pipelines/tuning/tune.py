"""Tuning: Optuna over the declared ranges, judged on rolling origins inside the history.

The rows the gate judges by are never seen here. A study lives in a SQLite file and is taken up
again where it was left, for the same data, settings and ranges only.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.errors import ConfigError, DataError, GatecastError, lacking
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import Prepared, prepare
from pipelines.machine.files import check_writable
from pipelines.machine.say import Say, silent
from pipelines.machine.state import home, locked
from pipelines.spread import fits
from pipelines.spread.carrying import AllLostError
from pipelines.spread.places import each, open_place
from pipelines.spread.task import Place, Task
from pipelines.terminal.waiting import advance
from pipelines.tracking.run import Run
from pipelines.tracking.store import brief
from pipelines.tracking.tracker import Tracker, has_died, open_tracker, process_tag
from pipelines.training.candidates import need_training, split
from pipelines.tuning.space import (
    WINNER,
    decoded,
    suggest,
    with_settings,
    write_winner,
)

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.data.panel import Panel


ORIGINS = 3  # rolling origins of a trial; fewer where histories are short
STARTUP_TRIALS = 5  # random ones, before the search learns and prunes
WAIT_SECONDS = 60  # for the study's database while another process writes
PROCESS, REASON, DEFAULT = "process", "reason", "default"


@dataclass(frozen=True)
class Tuned:
    """What a search came to.

    Attributes
    ----------
    value, default
        Mean error over the origins: of the winner, and of the settings as they were.
    params
        What the winner changes; empty when nothing was better than the settings as they were.
    trials
        One row per trial: state, value and settings.
    """

    name: str
    metric: str
    value: float
    default: float
    params: dict[str, Any]
    trials: pd.DataFrame
    path: Path
    run_id: str

    @property
    def line(self) -> str:
        """One line for a person."""
        if not self.params:
            return f"nothing was better than the settings as they are ({self.default:.4f})"
        settings = ", ".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.metric} {self.value:.4f}, before {self.default:.4f}: {settings}"


def tune(
    config: ExperimentConfig,
    values: Mapping[str, Any],
    *,
    out: Path,
    trials: int | None = None,
    candidate: str | None = None,
    say: Say = silent,
) -> Tuned:
    """Search `tune.space`, and write the winner as a config file.

    Parameters
    ----------
    config
        The experiment.
    values
        What its file says, as read: the winner's file keeps it, with one candidate, `tuned`.
    out
        Where the winner's file goes.
    trials
        In all, those of earlier sessions among them; default: ``tune.trials``.
    candidate
        Whose settings the ranges vary; default: the first.

    Raises
    ------
    ConfigError
        No ranges, an unknown candidate.
    GatecastError
        No trial came to an end.
    """
    if not config.tune.space:
        raise ConfigError(
            "tune.space: empty; say what to search, as in "
            "tune: {space: {model.hidden_size: {choices: [32, 64]}}}"
        )
    need_training()
    name = candidate or next(iter(config.candidates))
    if name not in config.candidates:
        raise ConfigError(f"no candidate {name!r}; there are: {', '.join(config.candidates)}")
    check_writable(out)
    tracker = open_tracker(config, system_metrics=False)
    tracker.close_abandoned()
    data = prepare(config)
    for line in data.said:
        say(line)
    train_data = split(data, config)
    title = f"tune {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}"
    with ExitStack() as stack:
        place = stack.enter_context(open_place(config.spread, say))
        search = _Search(config, name, train_data, tracker, place, say)
        tags = {"kind": "tuning", "candidate": name, "study": search.study.study_name}
        parent = stack.enter_context(tracker.run(title, tags=tags))
        search.parent = parent
        search.go(trials or config.tune.trials, config.tune.timeout)
        value, params = search.best()
        gain = f"{search.metric} {value:.5g}, before {search.default:.5g}"
        origins = f"on {len(search.backs)} rolling origins"
        write_winner(config, values, name, params, out, f"{gain}, {origins}")
        table = search.table()
        parent.table(table, "trials.json")
        parent.metrics({search.metric: value, f"{search.metric}_before": search.default})
        parent.params({"best": {key: str(v) for key, v in params.items()}})
        return Tuned(
            name=config.name,
            metric=search.metric,
            value=value,
            default=search.default,
            params=params,
            trials=table,
            path=out,
            run_id=parent.id,
        )


class _Search:
    """A study and what its trials are judged on."""

    parent: Run | None = None

    def __init__(
        self,
        config: ExperimentConfig,
        name: str,
        data: Prepared,
        tracker: Tracker,
        place: Place,
        say: Say,
    ) -> None:
        self.optuna = _optuna()
        self.config, self.name, self.tracker = config, name, tracker
        self.digest, self.known = data.digest, data.panel
        self.say, self.metric = say, config.backtest.metric
        self.backs = fold_origins(self.known, config.horizon)
        self.place, self.shared = place, place.share(self.known)
        self._guard = threading.Lock()
        self._going, self._stopped = 0, False
        self.study = self._open()

    def _open(self) -> Any:
        """The study of this very question; another question is another study."""
        settings = self.config.forecaster(self.name, freq=self.known.freq.alias)
        facts = [
            self.digest,
            settings.model_dump(mode="json"),
            {key: spec.model_dump(mode="json") for key, spec in self.config.tune.space.items()},
            [self.metric, self.backs],
        ]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        with locked("tune-database"):
            storage = self.optuna.storages.RDBStorage(
                f"sqlite:///{home() / 'tune.db'}",
                engine_kwargs={"connect_args": {"timeout": WAIT_SECONDS}},
            )
            study = self.optuna.create_study(
                storage=storage,
                study_name=f"{self.config.name}-{self.name}-{digest}",
                direction="minimize",
                load_if_exists=True,
            )
        study.sampler = self.optuna.samplers.TPESampler(
            # A search that is taken up must not draw the same settings again.
            seed=(settings.training.seed or 0) + len(study.trials),
            n_startup_trials=STARTUP_TRIALS,
        )
        study.pruner = self.optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS)
        return study

    def go(self, wanted: int, timeout: float | None) -> None:
        """Run trials until as many have ended, in this session and before."""
        began = time.monotonic()
        self._heal()
        if DEFAULT not in self.study.user_attrs:
            self.say("the settings as they are")
            self.study.set_user_attr(DEFAULT, self._as_configured())
        self.default = float(self.study.user_attrs[DEFAULT])
        if self._ended():
            self.say(f"{self._ended()} trials are there from before")
        until = math.inf if timeout is None else began + timeout
        for _ in each(self.place, [partial(self._trials, wanted, until)] * self.place.workers):
            pass
        if self._ended() < wanted:
            self.say(f"tune.timeout, {timeout:g} s, is over")

    def _trials(self, wanted: int, until: float) -> None:
        """One trial after the other, beside others that do the same."""
        while self._begun(wanted, until):
            try:
                self._trial()
            except BaseException:
                self._stopped = True
                raise
            finally:
                with self._guard:
                    self._going -= 1
            advance(self._ended() / wanted)

    def _begun(self, wanted: int, until: float) -> bool:
        """Whether there is time for one more trial, and need of it."""
        with self._guard:
            more = self._ended() + self._going < wanted and time.monotonic() <= until
            more = more and not self._stopped
            self._going += more
            return more

    def _ended(self) -> int:
        states = self.optuna.trial.TrialState
        return len(self.study.get_trials(False, (states.COMPLETE, states.PRUNED)))

    def _heal(self) -> None:
        """Trials whose process died are given up, and their settings tried again."""
        state = self.optuna.trial.TrialState
        for trial in self.study.get_trials(False, (state.RUNNING,)):
            if has_died(trial.user_attrs.get(PROCESS, "")):
                self.study.tell(trial.number, state=state.FAIL)
                self.say(f"trial {trial.number} was cut off; its settings are tried again")
                if trial.params:
                    self.study.enqueue_trial(trial.params)

    def _as_configured(self) -> float:
        with self.tracker.run("as configured", parent=self.parent, tags=self._tags()) as run:
            return self._judge(self.config, self.name, run, None)

    def _tags(self) -> dict[str, Any]:
        return {"kind": "trial", "candidate": self.name, "study": self.study.study_name}

    def _trial(self) -> None:
        state = self.optuna.trial.TrialState
        with self._guard:
            trial = self.study.ask()
            trial.set_user_attr(PROCESS, process_tag())
            params = {k: suggest(trial, k, spec) for k, spec in self.config.tune.space.items()}
        tags = self._tags() | {"trial": trial.number}
        with self.tracker.run(f"trial {trial.number}", parent=self.parent, tags=tags) as run:
            run.params({key: str(value) for key, value in params.items()})
            try:
                changed = with_settings(self.config, self.name, params)
                value = self._judge(changed, WINNER, run, trial)
            except self.optuna.TrialPruned as pruned:
                self._close(trial, run, str(pruned))
                return
            except AllLostError:
                raise
            except GatecastError as error:
                # Settings that do not go together, or that learn nothing, are no reason to stop.
                self._close(trial, run, brief(error))
                return
            self.study.tell(trial, value, state=state.COMPLETE)
            run.tag(state="complete")
        text = ", ".join(f"{key}={value}" for key, value in params.items())
        self.say(f"trial {trial.number}: {self.metric} {value:.4f} with {text}")

    def _close(self, trial: Any, run: Run, reason: str) -> None:
        trial.set_user_attr(REASON, reason)
        run.tag(state="pruned", reason=reason)
        self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
        self.say(f"trial {trial.number}: stopped, {reason}")

    def _judge(self, config: ExperimentConfig, name: str, run: Run, trial: Any) -> float:
        """Mean error over the origins; a trial that is behind after one of them is pruned."""
        settings = config.forecaster(name, freq=self.known.freq.alias)
        parcel = {
            "settings": settings.model_dump(mode="json", exclude_unset=True),
            "levels": list(config.backtest.levels),
            "metric": self.metric,
        }
        what = "the settings as they are" if trial is None else f"trial {trial.number}"
        errors: list[float] = []
        for step, back in enumerate(self.backs, start=1):
            task = Task(
                name=f"{config.name}: {what}, origin {step}",
                work=fits.TRIAL,
                parcel={**parcel, "back": back},
                shared=(self.shared,),
            )
            error = float(self.place.do(task)["error"])
            errors.append(error)
            run.metric(f"origin/{self.metric}", error, step)
            if trial is not None:
                trial.report(float(np.mean(errors)), step)
                if step < len(self.backs) and trial.should_prune():
                    raise self.optuna.TrialPruned(f"behind the others after origin {step}")
        value = float(np.mean(errors))
        run.metrics({self.metric: value})
        return value

    def best(self) -> tuple[float, dict[str, Any]]:
        """Error and settings of the winner; no settings when those as they were won.

        Raises
        ------
        GatecastError
            No trial came to an end.
        """
        complete = self.study.get_trials(False, (self.optuna.trial.TrialState.COMPLETE,))
        if not complete:
            pruned = self.study.get_trials(False)
            why = {t.user_attrs[REASON] for t in pruned if REASON in t.user_attrs}
            raise GatecastError(
                f"no trial of {self.config.name!r} came to an end: {'; '.join(sorted(why)[:3])}"
            )
        winner = min(complete, key=lambda t: t.value)
        if winner.value >= self.default:
            return self.default, {}
        space = self.config.tune.space
        return winner.value, {k: decoded(space[k], v) for k, v in winner.params.items()}

    def table(self) -> pd.DataFrame:
        """One row per trial."""
        import pandas as pd

        rows = [
            {
                "trial": t.number,
                "state": t.state.name.lower(),
                "value": float(t.value) if t.value is not None else np.nan,
                **{key: str(v) for key, v in t.params.items()},
                "reason": t.user_attrs.get(REASON, ""),
            }
            for t in self.study.get_trials(False)
        ]
        return pd.DataFrame(rows)


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise lacking("tuning", error) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def fold_origins(known: Panel, horizon: int) -> list[int]:
    """Rows before the end of the known history at which trials forecast, earliest first.

    Raises
    ------
    DataError
        No series is long enough for one.
    """
    for count in range(ORIGINS, 0, -1):
        # Half of the series must still have two horizons to learn from.
        if np.mean(known.lengths >= (count + 2) * horizon) >= 0.5:
            return [horizon * k for k in range(count, 0, -1)]
    raise DataError(
        f"series of {int(np.median(known.lengths))} rows before the backtest are too short to "
        f"tune on: {3 * horizon} are needed; lower horizon or backtest.windows"
    )
