"""Loader of a bundle for MLflow: ``mlflow.pyfunc.load_model`` and ``mlflow models serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.reading.frame import forecast_frame

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.prediction.answers import Answers


class ForecastModel:
    """What MLflow calls; the answers are those of the service."""

    def __init__(self, engine: Answers) -> None:
        self.engine = engine

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Forecast a long table; see `serving.reading.frame.forecast_frame`."""
        return forecast_frame(self.engine, model_input, params)


def _load_pyfunc(path: str) -> ForecastModel:
    """Open the verified bundle in a folder."""
    from forecasting.prediction.predictor import Predictor

    return ForecastModel(Predictor.load(path))
