"""An experiment's settings: its YAML file's sections, how it is read, what is wrong in it."""

from pipelines.config.experiment import (
    BacktestConfig,
    Baseline,
    CandidateConfig,
    ExperimentConfig,
    ForecastConfig,
    GateConfig,
    JointConfig,
    Metric,
    MonitorConfig,
    Name,
    Range,
    ScheduleConfig,
    TrackingConfig,
    TuneConfig,
    build_config,
    load_config,
)

__all__ = [
    "BacktestConfig",
    "Baseline",
    "CandidateConfig",
    "ExperimentConfig",
    "ForecastConfig",
    "GateConfig",
    "JointConfig",
    "Metric",
    "MonitorConfig",
    "Name",
    "Range",
    "ScheduleConfig",
    "TrackingConfig",
    "TuneConfig",
    "build_config",
    "load_config",
]
