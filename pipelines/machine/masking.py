"""The masking of secrets, `forecasting.masking`, for whoever looks for it beside the machine."""

from forecasting.masking import (
    HIDDEN,
    SHORTEST,
    concealed,
    concealing,
    conceals,
    hide,
    masked,
    secrets_in,
)

__all__ = [
    "HIDDEN",
    "SHORTEST",
    "concealed",
    "concealing",
    "conceals",
    "hide",
    "masked",
    "secrets_in",
]
