"""The columns' roles are found where they are plain, and proposed where they are not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, MappingError, ingest

Mend = Callable[..., IngestResult]


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["unique_id", "ds", "y"], ("unique_id", "ds", "y")),
        (["store_id", "date", "sales"], ("store_id", "date", "sales")),
        (["sensor", "timestamp", "value"], ("sensor", "timestamp", "value")),
        (["Station", "Datum", "Wert"], ("Station", "Datum", "Wert")),
        (["item", "day", "whatever"], ("item", "day", "whatever")),
    ],
)
def test_plain_names_need_no_mapping(
    names: list[str], roles: tuple[str, ...], tidy: pd.DataFrame, mend: Mend
) -> None:
    tidy.columns = names
    result = mend(tidy)
    mapping = result.report.to_dict()["mapping"]
    assert (mapping["id"][0], mapping["ds"][0], mapping["y"]) == roles
    assert len(result.clean.ids) == 3


def test_a_table_of_time_and_value_is_one_series(tidy: pd.DataFrame, mend: Mend) -> None:
    one = tidy[tidy["unique_id"] == "north"].drop(columns="unique_id")
    result = mend(one.to_csv(index=False))
    assert result.clean.ids.tolist() == ["table"]


@pytest.mark.parametrize(
    "columns",
    [
        {"shop": "a", "note": "b"},
        {"price": 2.5, "stock": 7},
    ],
)
def test_the_proposal_can_be_pasted_into_the_config(
    columns: dict[str, object], tidy: pd.DataFrame, mend: Mend
) -> None:
    table = tidy.rename(columns={"unique_id": "branch", "ds": "when", "y": "amount_x"})
    table = table.assign(**columns)
    with pytest.raises(MappingError) as raised:
        mend(table)
    settings = yaml.safe_load(raised.value.proposal)["data"]
    assert "data: {" in str(raised.value)
    result = mend(table, **settings)
    assert result.clean.rows_in == len(table)


def test_a_wide_table_is_proposed_as_one(tidy: pd.DataFrame, mend: Mend) -> None:
    wide = tidy.pivot(index="ds", columns="unique_id", values="y").reset_index()
    with pytest.raises(MappingError, match="layout: wide") as raised:
        mend(wide.to_csv(index=False))
    result = mend(wide, **yaml.safe_load(raised.value.proposal)["data"])
    assert result.clean.ids.tolist() == ["north", "south", "west"]


def test_a_second_header_line_is_noticed(mend: Mend) -> None:
    rows = "".join(f"2024-01-{d:02d},{d},{d},{d},{d}\n" for d in range(1, 20))
    text = "Store,1,1,2,2\nDay,milk,bread,milk,bread\n" + rows
    with pytest.raises(MappingError, match="second header line") as raised:
        mend(text)
    result = mend(text, **yaml.safe_load(raised.value.proposal)["data"])
    assert result.clean.ids.tolist() == ["1/milk", "1/bread", "2/milk", "2/bread"]


def test_a_missing_column_is_named_beside_those_there(tidy: pd.DataFrame, mend: Mend) -> None:
    with pytest.raises(DataError, match=r"y = 'sold'.*'unique_id', 'ds', 'y'"):
        mend(tidy, id="unique_id", ds="ds", y="sold")
    with pytest.raises(DataError, match=r"covariates.price.*'price'"):
        mend(tidy, covariates=["price"])


def test_blanks_around_names_in_a_header_do_not_matter(tidy: pd.DataFrame, mend: Mend) -> None:
    text = tidy.to_csv(index=False).replace("unique_id,ds,y", " unique_id , ds , y ", 1)
    assert len(mend(text, id="unique_id", ds="ds", y="y").frame) == len(tidy)


def test_a_column_that_stands_twice_is_refused(mend: Mend) -> None:
    text = "unique_id,ds,y,y\n" + "".join(f"a,2024-01-{d:02d},{d},{d}\n" for d in range(1, 9))
    with pytest.raises(DataError, match="columns 3, 4"):
        mend(text, id="unique_id", ds="ds", y="y")


def test_the_config_in_the_docs_is_one(root: Path) -> None:
    text = (root / "docs" / "ingestion.md").read_text(encoding="utf-8")
    whole = text.split("## A config with everything in it")[1]
    example = whole.split("```yaml\n")[1].split("```")[0]
    config = DataConfig.parse(yaml.safe_load(example)["data"])
    assert config.ids.template
    # Every code in the table is one that is used.
    findings = text.split("## What is found")[1].split("\n## ")[0]
    codes = set(re.findall(r"^\| (`[a-z_`, ]+`) \|", findings, re.M))
    sources = "".join(p.read_text() for p in (root / "pipelines" / "ingestion").rglob("*.py"))
    for code in re.findall(r"[a-z_]+", " ".join(codes)):
        assert f'"{code}"' in sources, code


@pytest.mark.parametrize("form", ["csv", "frame", "parquet"])
@given(series=st.integers(2, 4), length=st.integers(1001, 1600))
@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_table_sorted_by_series_has_series_however_long_the_first_is(
    series: int, length: int, form: str, tmp_path: Path
) -> None:
    stamps = pd.date_range("2015-01-01", periods=length, freq="D")
    frame = pd.concat(
        pd.DataFrame({"thing": f"t{k}", "date": stamps, "sold": range(length)})
        for k in range(series)
    )
    source: object = frame
    if form != "frame":
        source = str(tmp_path / f"table.{form}")
        getattr(frame, f"to_{form}")(source, index=False)
    result = ingest(DataConfig(), source=source)
    assert len(result.clean.ids) == series
    frame["note"] = "x"
    if form != "frame":
        getattr(frame, f"to_{form}")(source, index=False)
    with pytest.raises(MappingError) as raised:
        ingest(DataConfig(), source=source)
    assert yaml.safe_load(raised.value.proposal)["data"]["id"] == ["thing"]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_of_several_possible_values_the_moving_one_is_proposed_and_the_others_named(
    order: int, mend: Mend
) -> None:
    hours = pd.date_range("2024-01-01", periods=400, freq="h")
    values = ["capacity", "occupied", "lat", "lon"]
    values = [*values[order:], *values[:order]]
    frames = []
    for k in range(4):
        columns = {
            "capacity": 500 + k,
            "occupied": [(7 * i + k) % 400 for i in range(len(hours))],
            "lat": 52.1 + k,
            "lon": 4.3 + k / 10,
        }
        frames.append(
            pd.DataFrame({"garage": f"g{k}", "when": hours} | {n: columns[n] for n in values})
        )
    with pytest.raises(MappingError, match="y may also be") as raised:
        mend(pd.concat(frames).to_csv(index=False))
    proposal = yaml.safe_load(raised.value.proposal)["data"]
    assert proposal == {"id": ["garage"], "ds": "when", "y": "occupied"}
    for other in ("capacity", "lat", "lon"):
        assert other in raised.value.proposal
        assert other in str(raised.value)


def keys_of(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every key of a config below a prefix, nested ones with a dot, and its default."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        found[prefix + name] = None if field.is_required() else field.default
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= keys_of(kind, f"{prefix}{name}.")
    return found


def test_every_key_below_data_stands_in_the_docs_with_its_default(root: Path) -> None:
    text = (root / "docs" / "ingestion.md").read_text(encoding="utf-8")
    table = text.split("## Every key\n")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (\S+) \| .+ \|$", table, re.M))
    keys = keys_of(DataConfig)
    assert set(rows) == set(keys)
    for key, default in keys.items():
        if isinstance(default, str | int | float):
            shown = default if isinstance(default, str) else json.dumps(default)
            assert rows[key] == f"`{shown}`", key
