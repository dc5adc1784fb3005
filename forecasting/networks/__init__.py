"""The networks: stacked recurrent encoders, decoders, heads, and the whole forecaster."""

from forecasting.networks.network import ForecastNetwork
from forecasting.networks.output import Output
from forecasting.networks.recurrent import RecurrentStack

__all__ = ["ForecastNetwork", "Output", "RecurrentStack"]
