"""Experiment files: what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forecasting.errors import ConfigError
from pipelines.config import build_config, load_config
from pipelines.config.file import merge, override

BASE: dict[str, Any] = {"name": "sales", "data": {"source": "sales.csv"}, "horizon": 12}


def build(**changes: Any) -> Any:
    return build_config(merge(BASE, changes))


@pytest.mark.parametrize(
    ("changes", "path", "value"),
    [
        ({"horizn": 3}, "horizn", "horizon"),
        ({"horizon": "far"}, "horizon", "far"),
        ({"horizon": 0}, "horizon", "0"),
        ({"model": {"hiden_size": 3}}, "model.hiden_size", "hidden_size"),
        ({"model": {"cell": "transformer"}}, "model.cell", "transformer"),
        ({"training": {"learning_rate": -1}}, "training.learning_rate", "-1"),
        ({"data": {"sorce": "x"}}, "data.sorce", "source"),
        ({"data": {"covariates": [{"name": "p", "role": "soon"}]}}, "role", "soon"),
        ({"backtest": {"levels": [0.9, 0.5]}}, "backtest", "increase"),
        ({"backtest": {"baselines": ["naive"]}}, "backtest", "seasonal_naive"),
        ({"gate": {"margin": 2}}, "gate.margin", "2"),
        ({"gate": {"metric": "bias"}}, "gate.metric", "'bias' is not allowed; it should be one of"),
        ({"candidates": {}}, "candidates", ""),
        ({"candidates": {"a": {"model": {"cell": "x"}}}}, "candidates.a.model.cell", "x"),
        ({"candidates": {"a": {"model": {"layrs": 1}}}}, "candidates.a.model.layrs", "layers"),
        ({"name": "no/slash"}, "name", "no/slash"),
        ({"name": "no/slash"}, "name", "it should be text that matches"),
        ({"horizon": 2.5}, "horizon", "2.5 is not allowed; it should be a whole number"),
        ({"training": {"loss": "nll"}}, "training.loss", "it should be a group of keys"),
        ({"model": {"residual": "perhaps"}}, "model.residual", "it should be true or false"),
        ({"tune": {"space": {"model.colour": {"choices": [1]}}}}, "tune", "model.colour"),
        ({"tune": {"space": {"model.layers": {"low": 3, "high": 1}}}}, "tune", "low 3"),
        ({"schedule": {"retries": -1}}, "schedule.retries", "-1"),
    ],
)
def test_each_fault_is_named_by_key_and_value(
    changes: dict[str, Any], path: str, value: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(**changes)
    message = str(caught.value)
    assert path in message
    assert value in message
    assert "\n" not in message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        build(horizn=1, model={"layrs": 2})
    assert "horizn" in str(caught.value)
    assert "model.layrs" in str(caught.value)


def test_overrides_are_yaml_and_reach_any_depth() -> None:
    values = override(BASE, ["model.hidden_size=64", "backtest.baselines=[seasonal_naive, naive]"])
    config = build_config(values)
    assert config.model.hidden_size == 64
    assert config.backtest.baselines == ("seasonal_naive", "naive")
    assert BASE == {"name": "sales", "data": {"source": "sales.csv"}, "horizon": 12}


@pytest.mark.parametrize("text", ["horizon", "=3", "name.deeper=1", "horizon=[1"])
def test_an_override_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        override(BASE, [text])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("horizon: 3\nhorizon: 4\n", "line 2"),
        ("horizon: [3\n", "line 2"),
        ("- a\n- b\n", "expected keys"),
        ("", "expected keys"),
        ("horizon: \x00", "bad.yaml"),
    ],
)
def test_a_file_that_is_no_config_is_refused_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_days_need_no_quotes_and_places_that_are_truths_in_yaml_are_told_to_have_them(
    tmp_path: Path, root: Path
) -> None:
    page = (root / "docs/calendars.md").read_text(encoding="utf-8")
    block = page.split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\nhorizon: 3\ndata: {{source: x.csv}}\n{block}")
    calendar = load_config(path).calendar
    assert calendar is not None
    assert calendar.events["sale"].days == ("2024-11-29",)
    assert calendar.country == "DE"
    for place, said in (("country: NO", "'NO'"), ("country: CA\n  subdivision: ON", "'ON'")):
        path.write_text(f"name: x\nhorizon: 3\ndata: {{source: x.csv}}\ncalendar:\n  {place}\n")
        with pytest.raises(ConfigError, match=f"put the text in quotes: {said}"):
            load_config(path)


def test_a_config_survives_being_written_and_read() -> None:
    config = build(model={"cell": "lstm"}, gate={"margin": 0.1})
    import yaml

    assert build_config(yaml.safe_load(config.to_yaml())) == config


def test_only_what_decides_the_model_is_in_the_digest() -> None:
    assert build().digest() == build(tracking={"uri": "sqlite:///x.db"}).digest()
    assert build().digest() == build(schedule={"retries": 5}).digest()
    assert build().digest() != build(horizon=13).digest()
    assert build().digest() != build(training={"seed": 1}).digest()


def test_every_shipped_config_is_valid(root: Path) -> None:
    files = sorted((root / "configs").glob("*.yaml"))
    assert files
    for file in files:
        load_config(file)


@pytest.mark.parametrize("place", ["freq", "data.freq"])
def test_closed_days_that_are_named_are_written_out(place: str) -> None:
    pytest.importorskip("holidays", reason="needs the group calendars")

    def built(closed: str) -> Any:
        freq = {"freq": f"D[MON-FRI; closed {closed}]"}
        return build(**({"data": freq} if place == "data.freq" else freq))

    config = built("NYSE")
    freq = (config.data if place == "data.freq" else config).freq
    assert "2024-07-04" in freq
    assert "NYSE" not in freq
    with pytest.raises(ConfigError, match="closed XX: Country XX not available"):
        built("XX")
