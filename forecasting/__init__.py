"""Forecasting with stacked LSTM and GRU networks: panels in, quantiles out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forecasting import datasets as datasets
    from forecasting import interop as interop
    from forecasting.config import ForecasterConfig
    from forecasting.data.forecast import Forecast
    from forecasting.data.panel import Panel
    from forecasting.evaluation.backtest import Backtest, backtest
    from forecasting.forecaster import Forecaster
    from forecasting.prediction.predictor import Predictor

__all__ = [
    "Backtest",
    "Forecast",
    "Forecaster",
    "ForecasterConfig",
    "Panel",
    "Predictor",
    "backtest",
]

_HOMES = {
    "Backtest": "evaluation.backtest",
    "Forecast": "data.forecast",
    "Forecaster": "forecaster",
    "ForecasterConfig": "config",
    "Panel": "data.panel",
    "Predictor": "prediction.predictor",
    "backtest": "evaluation.backtest",
}


# What does without a group's packages what a class does with them.
_WITHOUT = {"Forecaster": "to predict with a saved model alone, use forecasting.Predictor"}

# Reached from the package itself, as in `forecasting.datasets.load("sunspots")`.
_ROOMS = ("datasets", "interop")


def __getattr__(name: str) -> Any:
    # Lazy: the service and the configuration must not pay for importing torch.
    from importlib import import_module

    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from forecasting.errors import lacking

        raise lacking(name, error, _WITHOUT.get(name, "")) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
