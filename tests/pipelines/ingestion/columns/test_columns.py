"""Categories are spelled once, and what a covariate's cells held is said wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import IngestResult

Mend = Callable[..., IngestResult]
DRAWN = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DAYS = pd.date_range("2024-01-10", periods=40).strftime("%Y-%m-%d")


def table(**columns: list[str]) -> str:
    y = {"unique_id": ["a"] * 40, "ds": list(DAYS), "y": [str(100 + k % 7) for k in range(40)]}
    return pd.DataFrame({**y, **columns}).to_csv(index=False, sep=";")


def findings(result: IngestResult) -> dict[str, dict[str, Any]]:
    return {f["code"]: f for f in result.report.to_dict()["findings"]}


@given(
    words=st.lists(st.sampled_from(["yes", "no", "Köln", "straße x"]), min_size=40, max_size=40),
    turned=st.sets(st.integers(0, 39), max_size=15),
    how=st.sampled_from([str.upper, str.title, str.swapcase]),
)
@DRAWN
def test_categories_that_differ_in_case_only_are_one_as_most_rows_write_it(
    words: list[str], turned: set[int], how: Callable[[str], str], mend: Mend
) -> None:
    # A dotless or a sharp letter in capitals is another word.
    words = [w.replace("ß", "ss") for w in words]
    cells = [how(w) if k in turned else w for k, w in enumerate(words)]
    result = mend(table(promo=cells), covariates=["promo"])
    found = list(result.frame["promo"])
    counts = pd.Series(cells).value_counts()
    other = 0
    for cell, own in zip(cells, found, strict=True):
        assert own.casefold() == cell.casefold()
        assert counts[own] >= counts[cell]
        other += own != cell
    assert findings(result).get("category_case", {"count": 0})["count"] == other
    if other:
        with pytest.raises(DataError, match="category"):
            mend(table(promo=cells), strict=True, covariates=["promo"])


def test_recode_keeps_categories_apart_or_joins_them(mend: Mend) -> None:
    text = table(kind=["a", "A", "b", "B"] * 10)
    apart = mend(text, covariates=[{"name": "kind", "recode": {"A": "large a", "B": "large b"}}])
    assert set(apart.frame["kind"]) == {"a", "b", "large a", "large b"}
    assert "category_case" not in findings(apart)


def test_missing_categories_stay_missing_beside_other_spellings(mend: Mend) -> None:
    cells = ["yes", "Yes", "", "no"] * 10
    result = mend(table(promo=cells), covariates=[{"name": "promo", "type": "categorical"}])
    assert int(result.frame["promo"].isna().sum()) == 10
    assert findings(result)["category_case"]["count"] == 10


def test_cells_of_covariates_are_said_in_wide_tables_and_in_tables_of_their_own(
    mend: Mend, tmp_path: Path
) -> None:
    wide = pd.DataFrame({"ds": DAYS, "temp": ["x"] + ["1.5"] * 39, "a": range(40), "b": range(40)})
    result = mend(wide.to_csv(index=False), layout="wide", ds="ds", covariates=[{"name": "temp"}])
    assert findings(result)["not_a_number"]["count"] == 1
    own = tmp_path / "static.csv"
    rows = [f"s{k},{'north' if k else 'North'},{'??' if k == 2 else k}" for k in range(30)]
    own.write_text("\n".join(["unique_id,region,size", *rows]))
    long = pd.concat(
        pd.DataFrame({"unique_id": f"s{k}", "ds": DAYS, "y": np.arange(40) % 7}) for k in range(30)
    )
    result = mend(long, static={"source": str(own)})
    assert findings(result)["category_case"]["count"] == 1
    assert findings(result)["not_a_number"]["count"] == 1
    assert set(result.static["region"]) == {"north"}
    own.write_text(
        "\n".join(["unique_id,share", *(f"s{k},{k + 1}{'%' * (k % 2)}" for k in range(30))])
    )
    with pytest.raises(DataError, match=r"column share: .*two units"):
        mend(long, static={"source": str(own)})
    own.write_text("unique_id,size\ns0,1\ns1,2\ns0,3\n")
    with pytest.raises(DataError, match=r"series 's0' stands twice"):
        mend(long, static={"source": str(own)})


@given(
    every=st.integers(2, 15),
    word=st.sampled_from(["n.v.", "closed", "-1 kg", "see note"]),
    measure=st.sampled_from(["", " kg", "km", "\u00b0C", " kWh"]),
)
@DRAWN
def test_numbers_beside_words_or_measures_are_no_category_unless_told(
    every: int, word: str, measure: str, tidy: pd.DataFrame, mend: Mend
) -> None:
    cells = [word if k % every == 0 else f"{k + 0.5}" for k in range(len(tidy))]
    if measure:
        cells = [f"{k + 0.5}{measure}" for k in range(len(tidy))]
    table = tidy.assign(price=cells).to_csv(index=False)
    with pytest.raises(DataError, match=r"price holds.*(type: real|take).*type: categorical"):
        mend(table, covariates=[{"name": "price"}])
    kept = mend(table, covariates=[{"name": "price", "type": "categorical"}])
    assert kept.frame["price"].tolist() == cells
    if not measure and every > 2:
        real = mend(table, covariates=[{"name": "price", "type": "real"}]).frame["price"]
        assert real.isna().sum() == cells.count(word)


def test_a_few_codes_of_digits_and_letters_are_a_category(tidy: pd.DataFrame, mend: Mend) -> None:
    for cells in (["0", "1", "Y"], ["1", "2a", "2b"], ["SW1A 2AA", "N1"], ["10", "K", "Q", "A"]):
        column = [cells[k % len(cells)] for k in range(len(tidy))]
        found = mend(tidy.assign(code=column).to_csv(index=False), covariates=[{"name": "code"}])
        assert found.frame["code"].tolist() == column
