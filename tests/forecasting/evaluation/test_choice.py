"""An account of a choice: the same after a bundle, in a table, in Markdown and in HTML."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from forecasting.evaluation.choice import QUESTIONS, Choice, Tried

TRIED = st.builds(
    Tried,
    question=st.sampled_from(QUESTIONS),
    name=st.text("ab <&|", min_size=1, max_size=8),
    error=st.one_of(st.floats(0.0, 1e6), st.just(math.nan)),
    share=st.one_of(st.none(), st.floats(0.0, 1.0)),
    kept=st.booleans(),
)
CHOICES = st.builds(
    Choice,
    origins=st.integers(1, 9),
    forecasts=st.integers(0, 10**6),
    tried=st.lists(TRIED, max_size=5).map(tuple),
    reasons=st.lists(st.text("xyz <>", max_size=9), max_size=3).map(tuple),
)


@given(CHOICES)
def test_a_choice_comes_back_from_json_as_it_was(choice: Choice) -> None:
    told = json.loads(json.dumps(choice.to_json(), allow_nan=False))
    assert repr(Choice.of_json(told)) == repr(choice)


@given(CHOICES)
def test_every_candidate_and_reason_is_shown(choice: Choice) -> None:
    table, text, page = choice.table, str(choice), choice._repr_html_()
    assert table["candidate"].tolist() == [t.name for t in choice.tried]
    assert table["kept"].tolist() == [t.kept for t in choice.tried]
    assert page.count("<tr><td>") == len(choice.tried)
    assert page.count("<li>") == len(choice.reasons)
    assert "<&" not in page
    assert text.count("→") == sum(t.kept for t in choice.tried)
    assert text.count("unknown") == sum(math.isnan(t.error) for t in choice.tried)
    assert choice.markdown().count("\n- ") == len(choice.reasons)


def test_bundles_of_before_hold_none() -> None:
    for nothing in (None, {}):
        assert Choice.of_json(nothing) == Choice()
    assert str(Choice()) == "nothing was held back, so nothing was tried"
    assert Choice().because(["why"]).reasons == ("why",)
