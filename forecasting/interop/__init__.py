"""Tables, series and data sets of other libraries, and forecasts handed back to them."""

from forecasting.interop.darts import from_darts, to_darts
from forecasting.interop.gluonts import from_gluonts, to_gluonts
from forecasting.interop.nixtla import to_nixtla

__all__ = ["from_darts", "from_gluonts", "to_darts", "to_gluonts", "to_nixtla"]
