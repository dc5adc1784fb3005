"""Forecasting with stacked LSTM and GRU networks: panels in, quantiles out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forecasting.backtest import Backtest, backtest
    from forecasting.config import ForecasterConfig
    from forecasting.forecast import Forecast
    from forecasting.forecaster import Forecaster
    from forecasting.inference import Predictor
    from forecasting.panel import Panel

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
    "Backtest": "backtest",
    "Forecast": "forecast",
    "Forecaster": "forecaster",
    "ForecasterConfig": "config",
    "Panel": "panel",
    "Predictor": "inference",
    "backtest": "backtest",
}


def __getattr__(name: str) -> Any:
    # Lazy: the service and the configuration must not pay for importing torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
