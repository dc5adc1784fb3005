"""Manners: whatever is asked of the library, the host is as it was found."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import random
import signal
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from forecasting.forecaster import Forecaster
from forecasting.schema import Covariate, Schema
from tests.forecasting.samples import seasonal_frame, settings, untrained
from tests.forecasting.test_forecaster import QUICK, fitted

__all__ = ["fitted"]


def _host() -> dict[str, Any]:
    """What a library has no business to change."""
    names = ("", "pytorch_lightning", "lightning.pytorch", "matplotlib", "torch")
    numpy_state = np.random.get_state()
    return {
        "filters": list(warnings.filters),
        "levels": [logging.getLogger(name).level for name in names],
        "handlers": [list(logging.getLogger(name).handlers) for name in names[:1]],
        "environment": dict(os.environ),
        "torch random": torch.get_rng_state().tolist(),
        "numpy random": [numpy_state[0], *numpy_state[1].tolist(), *numpy_state[2:]],
        "python random": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "grad": torch.is_grad_enabled(),
        "errors": np.geterr(),
        "matplotlib": dict(matplotlib.rcParams),
        "folder": Path.cwd(),
        "running": {t.name for t in threading.enumerate()},
        "options": pd.get_option("display.max_rows"),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
    }


@pytest.mark.parametrize("what", ["fit", "predict", "plot", "backtest", "summary", "encode"])
@pytest.mark.parametrize("odd", [False, True])
def test_the_host_is_left_as_it_was_found(
    fitted: Forecaster, what: str, odd: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """And nothing is printed, whatever the host has set."""
    frame = seasonal_frame(2, rows=40)
    works: dict[str, Callable[[], Any]] = {
        "fit": lambda: Forecaster.fit(frame, horizon=2, config=QUICK, device="cpu", verbose=False),
        "predict": lambda: fitted.predict(pl.from_pandas(frame)),
        "plot": lambda: fitted.plot(frame).canvas.draw(),
        "backtest": lambda: fitted.backtest(frame, windows=2, device="cpu").scores(),
        "summary": lambda: fitted.summary() + fitted._repr_html_(),
        "encode": lambda: fitted.predict(state=fitted.encode(frame)),
    }
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        if odd:
            warnings.simplefilter("error")
            threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
            stack.callback(torch.set_num_threads, threads)
            stack.callback(torch.set_float32_matmul_precision, precision)
            stack.callback(logging.getLogger("pytorch_lightning").setLevel, logging.NOTSET)
            torch.set_num_threads(2)
            torch.set_float32_matmul_precision("high")
            logging.getLogger("pytorch_lightning").setLevel(logging.DEBUG)
            stack.enter_context(np.errstate(all="raise", under="ignore"))
            torch.manual_seed(11)
        works[what]()  # what is imported at first use is imported now
        capfd.readouterr()
        before = _host()
        works[what]()
        after = _host()
    for name, value in before.items():
        assert after[name] == value, name
    assert capfd.readouterr() == ("", "")


def test_forecasts_pictures_and_fits_in_threads_are_what_each_is_alone(fitted: Forecaster) -> None:
    frame = seasonal_frame(2, rows=40)
    options: dict[str, Any] = {"horizon": 2, "config": QUICK, "device": "cpu"}
    works: list[Callable[[], pd.DataFrame]] = [
        lambda: fitted.predict(frame),
        lambda: Forecaster.fit(frame, seed=1, **options).predict(frame),
        lambda: Forecaster.fit(pl.from_pandas(frame), seed=2, **options).predict(frame),
        lambda: fitted.backtest(frame, windows=1, device="cpu").table,
        lambda: pd.DataFrame({"y": fitted.plot(frame).axes[0].lines[1].get_ydata()}),
    ]
    alone = [work() for work in works]
    filters, style = list(warnings.filters), dict(matplotlib.rcParams)
    with ThreadPoolExecutor(len(works)) as pool:
        together = list(pool.map(lambda work: work(), works))
    for one, other in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert list(warnings.filters) == filters
    assert dict(matplotlib.rcParams) == style


@pytest.mark.parametrize("head", ["quantiles", "student_t", "negative_binomial", "point"])
def test_a_forecaster_that_has_answered_travels_to_other_processes(head: str) -> None:
    model = untrained(settings(model={"head": head}))
    stamps = pd.date_range("2024-01-01", periods=40)
    df = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(40.0) + 1.0})
    told = model.predict(df)
    for same in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        pd.testing.assert_frame_equal(same.predict(df), told)


def test_a_warning_stands_at_the_line_that_led_to_it() -> None:
    """However deep inside it arises: who filters by place, or reads it, finds a line of theirs."""
    stamps = pd.date_range("2024-01-01", periods=40)
    df = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(40.0) + 1.0, "promo": np.nan})
    columns = (Covariate(name="promo", role="past"),)
    model = untrained(settings(), Schema(covariates=columns))
    doors = {
        "predict": lambda: model.predict(df),
        "historical": lambda: model.historical(df, last=1),
        "encode": lambda: model.encode(df),
        "paths": lambda: model.paths(df, 10),
    }
    for name, door in doors.items():
        with pytest.warns(UserWarning, match="without a value in any row") as told:
            door()
        assert {warning.filename for warning in told} == {__file__}, name
