"""What network and arithmetic of gatecast-zero have in common; imports no torch."""

from __future__ import annotations

from forecasting.zero.patches import AHEAD, LAGS, WIDTH

# Levels of the quantiles that it forecasts.
LEVELS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
MIDDLE = LEVELS.index(0.5)
STEPS = AHEAD * WIDTH
# Weight of a patch beside the one after it: in the level, and in the spread about it.
FORGET_LEVEL, FORGET_SPREAD = 0.5, 0.9
# Spreads below this share of the series' own count as it, and values beyond `FURTHEST` spreads
# as that far.
LEAST_SPREAD, FURTHEST = 1e-4, 20.0
# Errors are measured in those of the season before, or of the value before, which count as no
# less and no more than these shares of the spread.
LEAST_UNIT, MOST_UNIT = 0.03, 2.0
# What is repeated, each as far as the state says: the lags, the last value, the drift of the level,
# and what the newest value is off by.
REPEATED = LAGS + 3
