"""An experiment in one YAML file: what to read, what to train, how to judge it, where to keep it.

Every value is checked when the file is loaded. An unknown key, a wrong type or an impossible
combination is refused with the path of the key, the value found and what would be allowed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from forecasting.config import Ahead, CalendarConfig, ForecasterConfig, ModelConfig, TrainingConfig
from forecasting.errors import ConfigError
from forecasting.evaluation.catalogue import baseline_named, metric_named
from forecasting.known.occasions import with_closed_days
from forecasting.masking import hide
from forecasting.paths.reconcile import How
from forecasting.paths.sampling import LEAST_PATHS, MOST_PATHS
from forecasting.quantiles import ASKED, JUDGED
from forecasting.settings import Settings
from pipelines.config.errors import explain
from pipelines.config.file import merge, override, read_yaml
from pipelines.ingestion.config import DataConfig

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Metric = Annotated[str, AfterValidator(metric_named)]
Baseline = Annotated[str, AfterValidator(baseline_named)]


class CandidateConfig(Settings):
    """One model to train and compare: what it changes in `model` and `training`."""

    model: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class RunTraining(TrainingConfig):
    """How networks are trained, and what a run of the pipeline begins from."""

    begin: Literal["nothing", "champion"] = Field(
        "nothing",
        description="champion: train on for a little from the champion's weights, where that can "
        "be done",
    )
    max_age: int = Field(
        12,
        ge=1,
        le=1000,
        description="trainings in a row that may go on from a champion before one begins anew",
    )

    @property
    def of_networks(self) -> TrainingConfig:
        """The settings of the networks alone."""
        own = set(RunTraining.model_fields) - set(TrainingConfig.model_fields)
        return TrainingConfig.model_validate(self.model_dump(exclude_unset=True, exclude=own))


class BacktestConfig(Settings):
    """Rolling origins at the end of the history, never seen in training."""

    windows: int = Field(3, ge=1, le=1000, description="number of origins")
    step: int | None = Field(None, ge=1, description="steps between origins; default: horizon")
    refit: int | None = Field(
        None,
        ge=1,
        description="of `gatecast backtest`: beside each candidate, one that is trained anew at "
        "every n-th origin",
    )
    baselines: tuple[Baseline, ...] = ("seasonal_naive",)
    metric: Metric = "mase"
    levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = JUDGED

    @model_validator(mode="after")
    def _usable(self) -> BacktestConfig:
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError("levels must increase strictly")
        if 0.5 not in self.levels:
            raise ValueError("levels must contain 0.5, the point forecast that is scored")
        if "seasonal_naive" not in self.baselines:
            raise ValueError("baselines must contain seasonal_naive, which the gate compares with")
        return self


class GateConfig(Settings):
    """What a challenger must show before it becomes champion."""

    metric: Metric = "mase"
    margin: float = Field(0.02, ge=0, le=1, description="worse than the champion by this share")
    level: float = Field(0.95, gt=0.5, lt=1, description="confidence of the bootstrap interval")
    samples: int = Field(2000, ge=100, le=100_000, description="bootstrap samples")
    seed: int = 0
    interval: float = Field(0.8, gt=0, lt=1, description="interval whose coverage is checked")
    coverage: tuple[float, float] = Field((0.6, 0.97), description="allowed coverage of it")
    max_bias: float = Field(0.2, gt=0, description="largest |bias| as a share of mean |y|")
    segment: str | None = Field(None, description="static column that names the segments")
    max_segment_loss: float = Field(
        0.25, ge=0, description="worst segment may lose this share against the reference"
    )
    max_latency_ms: float = Field(250.0, gt=0, description="median ms for one series, one thread")
    max_size_mb: float = Field(200.0, gt=0, description="size of the bundle on disk")
    max_refused: float = Field(0.05, ge=0, le=1, description="share of series without a forecast")
    max_shift: float = Field(
        1.0, gt=0, description="largest shift of the typical level or spread of the data, as |ln|"
    )
    max_lost: float = Field(0.2, ge=0, le=1, description="share of the champion's series gone")
    max_new: float = Field(0.5, ge=0, le=1, description="share of the series that are new")
    max_revised: float = Field(
        0.1, ge=0, le=1, description="share of values that the champion knew otherwise"
    )
    max_shifted: float = Field(
        0.05, ge=0, le=1, description="share of series moved against their stamps"
    )
    max_jumped: float = Field(0.1, ge=0, le=1, description="share of series whose clock jumped")
    max_stale: float = Field(
        0.2, ge=0, le=1, description="share of series that fell more than max_gap behind"
    )
    max_gap: int | None = Field(
        None, ge=0, description="steps a series may lag behind; default: horizon"
    )
    max_ahead: int | None = Field(
        None,
        ge=0,
        description="steps a row may lie beyond the others, or beyond today; default: horizon",
    )
    max_newest: float = Field(
        0.4, gt=0, description="change of the level of the newest rows beyond the usual, as |ln|"
    )
    max_unlike: float = Field(
        0.3, gt=0, description="how far series may part from that change, beyond the usual, as |ln|"
    )
    max_fallen: float = Field(
        0.25,
        ge=0,
        le=1,
        description="share of series whose newest rows are 0 or of another sign, beyond the usual",
    )


class TrackingConfig(Settings):
    """Where MLflow keeps runs. Left alone: SQLite and a folder below ./.gatecast."""

    uri: str | None = Field(None, description="default: MLFLOW_TRACKING_URI or local SQLite")
    artifacts: str | None = Field(
        None,
        description="artifact root; default: GATECAST_ARTIFACTS, else that of an http store, else "
        "./.gatecast/artifacts",
    )
    experiment: str | None = Field(None, description="default: the experiment's name")
    system_metrics: bool = True
    signing_key: str | None = Field(
        None, description="file of the key that signs models; default: GATECAST_SIGNING_KEY"
    )


class JointConfig(Settings):
    """What `gatecast forecast` makes of all series together; see docs/paths.md."""

    paths: int | None = Field(
        None, ge=LEAST_PATHS, le=MOST_PATHS, description="sample paths that are written"
    )
    seed: int = Field(0, ge=0, description="another one draws other paths")
    aggregate: tuple[dict[str, Any], ...] = Field(
        (), description="totals, such as {steps: 7, blocks: true, by: [region]}"
    )
    levels: tuple[tuple[str, ...], ...] = Field(
        (), description="of a hierarchy, each by static columns; of none: all series"
    )
    how: How | None = Field(None, description="how a hierarchy is brought to agree")
    nonnegative: bool = Field(False, description="nothing of a hierarchy below 0")
    output: str | None = Field(None, description="folder; default: .gatecast/joint/NAME")


class ForecastConfig(Settings):
    """The batch forecast of `gatecast forecast`, and after training where an output is set."""

    output: str | None = Field(None, description=".parquet or .csv file, or a database URL")
    table: str = "forecasts"
    future: str | None = Field(
        None, description="a table of covariates known ahead, where they do not follow the history"
    )
    levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ASKED
    joint: JointConfig | None = Field(
        None, description="paths, totals and a hierarchy of all series together"
    )


class MonitorConfig(Settings):
    """When past forecasts are called bad and the data drifted."""

    forecasts: str | None = Field(None, description="past forecasts; default: forecast.output")
    false_alarms: float = Field(
        0.01, gt=0, le=0.5, description="chance of any alarm in one check when nothing changed"
    )
    recent: int | None = Field(None, ge=2, description="steps looked at; default: the horizon")
    retrain: bool = Field(False, description="start the training flow on a 'retrain' verdict")


class ScheduleConfig(Settings):
    """How the pipeline behaves under the scheduler."""

    retries: int = Field(2, ge=0, le=20)
    retry_delay: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (60.0, 300.0), description="seconds before each retry"
    )
    timeout: float = Field(6 * 3600.0, gt=0, description="seconds one run may take")
    webhook: str | None = Field(None, description="URL that gets a JSON POST")
    smtp: str | None = Field(None, description="smtp://user:password@host:587/?from=a@b&to=c@d")
    notify: tuple[Literal["failed", "refused", "promoted", "drift"], ...] = (
        "failed",
        "refused",
        "drift",
    )


class Range(Settings):
    """One searched setting: a list of choices, or a range."""

    choices: tuple[Any, ...] | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either choices: [...] or low: and high:")
        if self.choices is None and self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low {self.low} must be under high {self.high}")
            if self.log and self.low <= 0:
                raise ValueError("a log range needs low above 0")
        return self


class TuneConfig(Settings):
    """The search space of `gatecast tune`, by dotted key below `model.` or `training.`."""

    trials: int = Field(20, ge=1, le=100_000)
    timeout: float | None = Field(None, gt=0, description="seconds in total")
    space: dict[str, Range] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_groups(self) -> TuneConfig:
        for key in self.space:
            group, _, field = key.partition(".")
            groups: dict[str, type[Settings]] = {"model": ModelConfig, "training": TrainingConfig}
            if group not in groups or field.split(".")[0] not in groups[group].model_fields:
                raise ValueError(f"space: {key!r} is no setting of model. or training.")
        return self


class SpreadConfig(Settings):
    """Where candidates, trials, cutoffs and partitions are worked on; see docs/ray.md."""

    workers: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="tasks at the same time; default: 1, or as many as the Ray cluster holds",
    )
    ray: str | None = Field(
        None, min_length=1, description="local, auto or HOST:PORT of a Ray cluster"
    )
    cpus: float = Field(1.0, gt=0, description="cores of a task on Ray")
    gpus: float = Field(0.0, ge=0, description="GPUs of a task on Ray, such as 0.5")
    retries: int = Field(3, ge=0, le=100, description="of a task whose worker was lost")


class ExperimentConfig(Settings):
    """Everything one pipeline needs, from raw table to champion."""

    name: Name = Field(description="of the experiment and of the registered model")
    description: str = ""
    data: DataConfig
    horizon: int = Field(ge=1, le=10_000, description="steps to forecast")
    freq: str | None = Field(None, description="pandas alias or 'step'; default: inferred")
    season: int | None = Field(
        None, ge=1, description="steps in a season; default: by stamps, else found"
    )
    history: int | None = Field(None, ge=2, description="rows kept of each series, from its end")
    model: ModelConfig = Field(default_factory=ModelConfig)
    training: RunTraining = Field(default_factory=RunTraining)
    calibrate: bool = Field(True, description="conformal correction of the quantiles")
    calendar: CalendarConfig | None = Field(None, description="holidays and events")
    ahead: dict[str, Ahead] = Field(
        {}, description="what stands for values of covariates known ahead that are missing"
    )
    candidates: dict[Name, CandidateConfig] = Field(
        default_factory=lambda: {"model": CandidateConfig()}, min_length=1
    )
    backtest: BacktestConfig = BacktestConfig()
    gate: GateConfig = GateConfig()
    tracking: TrackingConfig = TrackingConfig()
    forecast: ForecastConfig = ForecastConfig()
    monitor: MonitorConfig = MonitorConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    tune: TuneConfig = TuneConfig()
    spread: SpreadConfig = SpreadConfig()

    @field_validator("freq")
    @classmethod
    def _with_closed_days(cls, freq: str | None) -> str | None:
        return None if freq is None else with_closed_days(freq)

    @model_validator(mode="after")
    def _candidates_hold(self) -> ExperimentConfig:
        for name in self.candidates:
            self._parts(name)
        return self

    def _parts(self, candidate: str) -> tuple[ModelConfig, TrainingConfig]:
        own = self.candidates[candidate]
        parts: list[Any] = []
        for group, base in (("model", self.model), ("training", self.training.of_networks)):
            merged = merge(base.model_dump(exclude_unset=True), getattr(own, group))
            try:
                parts.append(type(base).model_validate(merged))
            except ValidationError as error:
                lines = explain(error, type(base), f"candidates.{candidate}.{group}")
                raise ConfigError("; ".join(lines)) from error
        return parts[0], parts[1]

    def forecaster(self, candidate: str, *, freq: str | None = None) -> ForecasterConfig:
        """Settings of one candidate's forecaster.

        Parameters
        ----------
        candidate
            A key of `candidates`.
        freq
            Taken from the data where the file says nothing.
        """
        model, training = self._parts(candidate)
        values: dict[str, Any] = {
            "horizon": self.horizon,
            "freq": self.freq or freq,
            "season": self.season,
            "model": model,
            "training": training,
            "calibrate": self.calibrate,
            "calendar": self.calendar,
            "ahead": self.ahead or None,
        }
        try:
            settings = {k: v for k, v in values.items() if v is not None}
            return ForecasterConfig.model_validate(settings)
        except ValidationError as error:
            where = f"candidates.{candidate}"
            raise ConfigError("; ".join(explain(error, ForecasterConfig, where))) from error

    def digest(self) -> str:
        """SHA-256 (16 digits) of what decides the model; not of where it is kept."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()[:16]

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the model."""
        return self.model_dump(
            mode="json",
            exclude={"tracking", "schedule", "monitor", "forecast", "tune", "spread"},
        )

    def public(self) -> dict[str, Any]:
        """The values given, without what only its owner may read: passwords and webhooks."""
        secret = {"schedule": {"webhook", "smtp"}, "tracking": {"signing_key"}}
        values = self.model_dump(mode="json", exclude_unset=True, exclude=secret)
        return dict(hide(values))

    def to_yaml(self) -> str:
        """The file that gives this experiment again, without defaults and without secrets."""
        return yaml.safe_dump(self.public(), sort_keys=False, allow_unicode=True)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read, override and check an experiment file.

    Raises
    ------
    ConfigError
        For each wrong value: its key path, what was found, what is allowed.
    """
    return build_config(override(read_yaml(path), overrides), origin=str(path))


def build_config(values: Mapping[str, Any], *, origin: str = "config") -> ExperimentConfig:
    """Check values that were already read; `origin` names them in errors."""
    try:
        return ExperimentConfig.model_validate(values)
    except ValidationError as error:
        lines = explain(error, ExperimentConfig)
        raise ConfigError(f"{origin}: " + "; ".join(lines)) from error
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None
