"""One decimal mark per table: what one column says holds for all, or the table is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import IngestResult

Mend = Callable[..., IngestResult]
ROLES = {"id": "id", "ds": "ds", "y": "y"}
PRICE = [{"name": "price", "type": "real"}]
DRAWN = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def table(y: list[str], price: list[str], separator: str = ";") -> str:
    quoted = [[f'"{c}"' if separator in c else c for c in column] for column in (y, price)]
    lines = [
        separator.join(["a", f"2024-01-{i + 1:02d}", a, b])
        for i, (a, b) in enumerate(zip(*quoted, strict=True))
    ]
    return "\n".join([separator.join(["id", "ds", "y", "price"]), *lines]) + "\n"


OPEN = [f"{1 + i % 9}.{(234 + 7 * i) % 1000:03d}" for i in range(20)]
COMMA = [f"{1 + i % 3},{1 + i % 9}" for i in range(20)]
POINT = [c.replace(",", ".") for c in COMMA]


@given(separator=st.sampled_from(";,\t|"), read=st.booleans(), turned=st.booleans())
@DRAWN
def test_numbers_that_say_nothing_alone_follow_the_other_columns(
    separator: str, read: bool, turned: bool, mend: Mend
) -> None:
    unsure = [o.replace(".", ",") for o in OPEN] if turned else OPEN
    price = POINT if turned else COMMA
    result = mend(table(unsure, price, separator), **ROLES, covariates=PRICE if read else [])
    np.testing.assert_allclose(result.frame["y"], [float(o.replace(".", "")) for o in OPEN])
    if read:
        np.testing.assert_allclose(result.frame["price"], [float(p) for p in POINT])
    mark = "point" if turned else "comma"
    assert f"decimal {mark}" in result.report.to_dict()["facts"]["marks"]


@given(separator=st.sampled_from(";,\t|"), turned=st.booleans())
@DRAWN
def test_two_decimal_marks_are_refused_with_a_number_of_each(
    separator: str, turned: bool, mend: Mend
) -> None:
    y, price = (COMMA, POINT) if turned else (POINT, COMMA)
    with pytest.raises(DataError, match=r"two decimal marks.*column (y|price).*csv\.decimal"):
        mend(table(y, price, separator), **ROLES, covariates=PRICE)


def test_unsure_numbers_with_both_marks_are_refused(mend: Mend) -> None:
    with pytest.raises(DataError, match="two decimal marks"):
        mend(table(OPEN, [o.replace(".", ",") for o in OPEN]), **ROLES, covariates=PRICE)


@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_a_mark_that_is_given_holds_for_every_column(separator: str, mend: Mend) -> None:
    result = mend(table(OPEN, OPEN, separator), **ROLES, csv={"decimal": ","}, covariates=PRICE)
    for column in ("y", "price"):
        np.testing.assert_allclose(result.frame[column], [float(o.replace(".", "")) for o in OPEN])
    result = mend(table(OPEN, OPEN, separator), **ROLES, csv={"decimal": "."}, covariates=PRICE)
    np.testing.assert_allclose(result.frame["y"], [float(o) for o in OPEN])


def test_one_number_with_the_other_mark_is_no_number_rather_than_ten_times_as_large(
    mend: Mend,
) -> None:
    y = [*COMMA[:7], "1.5", *COMMA[8:]]
    result = mend(table(y, ["1"] * 20), **ROLES)
    assert np.isnan(result.frame["y"][7])
    codes = [f["code"] for f in result.report.to_dict()["findings"]]
    assert "not_a_number" in codes


def test_half_a_column_with_the_other_mark_is_refused(mend: Mend) -> None:
    with pytest.raises(DataError, match="two decimal marks"):
        mend(table([*COMMA[:10], *POINT[10:]], ["1"] * 20), **ROLES)


def test_a_wide_table_has_one_mark(mend: Mend) -> None:
    text = table(OPEN, COMMA).replace("\na;", "\n").replace("id;", "")
    result = mend(text, layout="wide", ds="ds")
    y = result.frame.set_index("unique_id")["y"]
    np.testing.assert_allclose(y["y"], [float(o.replace(".", "")) for o in OPEN])
    np.testing.assert_allclose(y["price"], [float(p) for p in POINT])
    text = table(POINT, COMMA).replace("\na;", "\n").replace("id;", "")
    with pytest.raises(DataError, match="two decimal marks"):
        mend(text, layout="wide", ds="ds")


def test_a_comma_far_below_counts_for_the_column_beside_it(mend: Mend) -> None:
    count = 12_000
    lines = [
        f"a;{1 + i};{i % 9 + 1}.{i % 1000:03d};{5 if i < 11_900 else '1,5'}" for i in range(count)
    ]
    result = mend("\n".join(["id;ds;y;price", *lines]), **ROLES, freq="step", covariates=PRICE)
    np.testing.assert_allclose(result.frame["y"][:3], [1000, 2001, 3002])


@given(
    blank=st.sampled_from([" ", "\u202f", "\u00a0", "'", "\u2019"]),
    separator=st.sampled_from([";", "\t", ","]),
    first=st.integers(400, 999),
)
@DRAWN
def test_a_comma_behind_groups_that_blanks_part_is_a_decimal_one(
    blank: str, separator: str, first: int, mend: Mend
) -> None:
    true = [first + 41.125 * k for k in range(25)]
    cells = [f"{v:,.3f}".replace(",", blank).replace(".", ",") for v in true]
    lines = [f'a{separator}2024-01-{k + 1:02d}{separator}"{c}"' for k, c in enumerate(cells)]
    text = "\n".join([separator.join(["id", "ds", "y"]), *lines]) + "\n"
    assert np.allclose(mend(text, **ROLES).frame["y"], true)


def test_true_and_false_are_said_to_be_one_and_zero(mend: Mend) -> None:
    lines = [f"a,2024-01-{k + 1:02d},{k % 2 == 0}" for k in range(20)]
    result = mend("\n".join(["id,ds,y", *lines]) + "\n", **ROLES)
    assert result.frame["y"].tolist() == [1.0, 0.0] * 10
    assert "1 and 0" in result.report.to_dict()["facts"]["values"]


def test_a_comma_before_an_exponent_is_a_decimal_one(mend: Mend) -> None:
    lines = [f'a,2024-01-{k + 1:02d},"{5 + k % 3},{130 + k}e+0{k % 4}"' for k in range(25)]
    true = [float(line.split('"')[1].replace(",", ".")) for line in lines]
    result = mend("\n".join(["id,ds,y", *lines]) + "\n", **ROLES)
    assert np.allclose(result.frame["y"], true)
