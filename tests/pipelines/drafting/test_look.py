"""Tables of many kinds are looked at without a config, and what is seen is what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.drafting.look import Look, history_lengths, look_at
from pipelines.ingestion import MappingError
from tests.pipelines.drafting.tables import KINDS, shops, town

Seen = Callable[[str], Look]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_seen_is_what_is_there(kind: str, seen: Seen) -> None:
    wanted, look = KINDS[kind], seen(kind)
    facts = look.facts()
    assert facts["series"] == wanted.series
    assert facts["frequency"] == wanted.freq
    assert facts["missing"] == wanted.missing
    assert look.horizon == wanted.horizon
    assert {c.name: c.role for c in look.candidates} == wanted.covariates
    # Every origin, and the history before the first, is longer than the horizon.
    assert look.horizon * (look.origins + 1) < np.median(history_lengths(look.result))


def test_a_horizon_that_is_given_is_kept(tmp_path: Path) -> None:
    look = look_at(str(town(tmp_path)), {}, horizon=9)
    assert (look.horizon, look.origins) == (9, 1)


def test_a_horizon_that_the_history_cannot_bear_is_refused_with_its_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="34 rows; a horizon of 20 needs more than 40"):
        look_at(str(town(tmp_path)), {}, horizon=20)


def test_what_was_settled_for_now_is_said(tmp_path: Path, seen: Seen) -> None:
    look = seen("shops")
    assert len(look.guessed) == 1
    assert "y may also be 'promo'" in look.guessed[0]
    assert look_at(str(shops(tmp_path)), {"id": "shop", "ds": "day", "y": "sold"}).guessed == []


def test_what_the_user_says_goes_before_what_is_seen(tmp_path: Path) -> None:
    look = look_at(str(shops(tmp_path)), {"y": "footfall"})
    assert look.roles["y"] == "footfall"
    assert "sold" in {c.name for c in look.candidates}


def test_counts_with_zeros_are_seen_as_such(seen: Seen) -> None:
    assert seen("parts").counts
    assert not seen("shops").counts


def test_a_table_without_numbers_is_refused_as_ingestion_does(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("id,ds,word\na,2024-01-01,x\na,2024-01-02,y\na,2024-01-03,z\n")
    with pytest.raises(MappingError, match="no column holds numbers"):
        look_at(str(path), {})


def test_lengths_end_with_the_last_value(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "unique_id": ["a"] * 5 + ["b"] * 4,
            "ds": [*range(5), *range(4)],
            "y": [1, np.nan, 2, np.nan, np.nan, 1, 2, 3, 4],
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    look = look_at(str(tmp_path / "t.csv"), {}, horizon=1)
    assert history_lengths(look.result).tolist() == [3, 4]
