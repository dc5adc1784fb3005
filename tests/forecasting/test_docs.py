"""The pages on models, gates and zero say what is there: tests, settings, and code that runs."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.config import ModelConfig, TrainingConfig
from tests.forecasting.samples import seasonal_frame

ROOT = Path(__file__).resolve().parents[2]
MODELS = (ROOT / "docs" / "models.md").read_text()
LIBRARY = (ROOT / "docs" / "library.md").read_text()
GATES = (ROOT / "docs" / "gates.md").read_text()
ZERO = (ROOT / "docs" / "zero.md").read_text()
PATHS = (ROOT / "docs" / "paths.md").read_text()
NAMED = sorted(set(re.findall(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)", MODELS + ZERO + PATHS)))


def blocks(page: str) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.M | re.S))


@pytest.mark.parametrize(("test", "file"), NAMED, ids=[test for test, _ in NAMED])
def test_a_named_test_exists(test: str, file: str) -> None:
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.M)


def test_each_of_the_twelve_parts_names_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\|$", MODELS, re.M)
    assert rows == [str(n) for n in range(1, 13)]
    assert all("[test_" in line for line in re.findall(r"^\| \d+ \|.*$", MODELS, re.M))


def test_every_setting_named_is_one() -> None:
    found = re.findall(r"`(model|training)\.(\w+)`", MODELS + GATES)
    assert found
    fields = {"model": ModelConfig.model_fields, "training": TrainingConfig.model_fields}
    assert [f"{part}.{key}" for part, key in found if key not in fields[part]] == []


def test_every_setting_is_named() -> None:
    named = MODELS + (ROOT / "docs" / "accuracy.md").read_text()
    for part, settings in (("model", ModelConfig), ("training", TrainingConfig)):
        missing = [key for key in settings.model_fields if f"`{part}.{key}" not in named]
        assert missing == []


def test_the_page_on_gates_names_tests_that_exist() -> None:
    source = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for test in re.findall(r"`(test_\w+)`", GATES):
        assert f"def {test}(" in source


def test_the_code_of_the_page_on_zero_runs_as_it_stands() -> None:
    df = seasonal_frame()
    names: dict[str, Any] = {"df": df}
    exec(blocks(ZERO), names)
    assert len(names["forecast"]) == 12 * df["unique_id"].nunique()
    assert {"q0.05", "q0.5", "q0.95"} <= set(names["monthly"].columns)


def test_the_code_of_the_page_on_paths_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecasting import Forecaster

    monkeypatch.chdir(tmp_path)
    fit, short = Forecaster.fit, {"max_steps": 2, "threads": 1, "start": "none"}
    monkeypatch.setattr(Forecaster, "fit", partial(fit, config={"training": short}))
    first, shops, second, third = re.findall(r"^```python\n(.*?)^```", PATHS, re.M | re.S)
    names: dict[str, Any] = {}
    exec(first, names)
    assert names["table"].columns.tolist() == ["unique_id", "ds", "path", "y"]
    assert len(names["quarters"]) == 4
    exec(shops, names)
    written = pd.read_csv(tmp_path / "sales.csv")
    assert written.columns.tolist() == ["unique_id", "ds", "y", "state", "region"]
    exec(second, names)
    assert names["table"].level.unique().tolist() == ["total", "state", "state/region", "series"]
    exec(third, names)
    found = {step: table["mean"] for step, table in names["found"].items()}
    assert [len(means) for means in found.values()] == [91, 13, 3]
    assert found["D"].iloc[:7].sum() == pytest.approx(found["W-MON"].iloc[0])
    assert found["D"].iloc[:30].sum() == pytest.approx(found["MS"].iloc[0])


def test_the_code_of_the_library_page_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecasting import Forecaster

    monkeypatch.chdir(tmp_path)
    fit, short = Forecaster.fit, {"max_steps": 5, "threads": 1, "start": "none"}
    config = {"model": {"hidden_size": 8, "layers": 1}, "training": short}
    monkeypatch.setattr(Forecaster, "fit", partial(fit, config=config))
    names: dict[str, Any] = {}
    exec(blocks(LIBRARY), names)
    said = re.search(r"`forecast` has a row for each series and step: `([^`]+)`", LIBRARY)
    assert said is not None
    assert list(names["forecast"].columns) == said[1].split(", ")
    assert (tmp_path / "forecast.png").is_file()
    assert "on 1 series, 144 rows" in capsys.readouterr().out
    assert list(names["found"].scores().index) == ["forecaster", "seasonal_naive"]
    first = re.search(r"^```python\n(.*?)^```", LIBRARY, re.M | re.S)
    assert first is not None
    assert len(first[1].strip().splitlines()) <= 8


def test_the_library_page_tells_of_every_way_to_other_libraries() -> None:
    from forecasting import datasets, interop

    assert [name for name in interop.__all__ if name not in LIBRARY] == []
    assert [name for name in datasets.names() if f"`{name}`" not in LIBRARY] == []


def test_the_code_of_both_pages_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecasting import Forecaster

    monkeypatch.chdir(tmp_path)
    fit = Forecaster.fit

    def quickly(
        df: pd.DataFrame, *, config: dict[str, Any] | None = None, **given: Any
    ) -> Forecaster:
        # Everything as the page says, only short.
        asked = config or {}
        model = {**asked.get("model", {}), "hidden_size": 8}
        training = {**asked.get("training", {}), "max_steps": 5, "threads": 1}
        return fit(df, config={"model": model, "training": training}, **given)

    monkeypatch.setattr(Forecaster, "fit", quickly)
    whole = seasonal_frame(series=3, rows=80)
    late = whole["ds"] >= whole["ds"].max() - pd.Timedelta(days=2)
    names: dict[str, Any] = {"df": whole[~late], "new_rows": whole[late]}
    exec(blocks(MODELS), names)
    assert len(names["first"]) == 3
    assert {"min", "median", "max"} <= set(names["forecaster"].swing)
    assert names["forecast"]["ds"].min() > whole["ds"].max()
    torch_way = names["same"].predict(names["df"])
    np.testing.assert_allclose(
        torch_way["q0.5"].to_numpy(), names["served"]["q0.5"].to_numpy(), rtol=1e-4
    )
    # The second page reads along with an LSTM of the plainest decoder.
    forecaster = quickly(
        names["df"], horizon=4, config={"model": {"cell": "lstm"}, "training": {"members": 1}}
    )
    forecaster.save("demand/")
    inputs = np.zeros((2, 5, forecaster.networks[0].encoder.layers[0].input_size))
    gates: dict[str, Any] = {"df": names["df"], "x": inputs}
    exec(blocks(GATES), gates)
    assert gates["trace"].forget.shape == (2, 5, 8)
