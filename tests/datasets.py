"""The real data sets beside the project, and the horizon and season of M4's parts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("GATECAST_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no data sets: set GATECAST_DATA")
M4 = {
    "m4_hourly": (48, 24),
    "m4_weekly": (13, 1),
    "m4_yearly_sample": (6, 1),
    "m4_monthly_sample": (18, 12),
    "m4_quarterly_sample": (8, 4),
}
