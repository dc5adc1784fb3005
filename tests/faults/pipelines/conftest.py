"""The small experiment of the pipelines' own tests."""

from __future__ import annotations

from tests.pipelines.conftest import empty_store, experiment, monthly, state, table, undrawn

__all__ = ["empty_store", "experiment", "monthly", "state", "table", "undrawn"]
