"""The gate: who passes, who does not, and that it says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import GateConfig
from pipelines.data.newest import Change
from pipelines.data.revision import Found, Revision
from pipelines.training.case import Answer, Before, Case, Judged
from pipelines.training.data_checks import OF_THE_DATA
from pipelines.training.gate import Check, Decision, all_checks, decide
from pipelines.training.model_checks import OF_THE_MODEL

UNITS = 40
QUICK = GateConfig(samples=300)
RNG = np.random.default_rng(7)
DIFFICULTY = RNG.uniform(0.5, 2.0, UNITS)  # what makes a unit hard is hard for every model


def model(name: str, level: float, *, noise: float = 0.02, seed: int = 0, **changes: Any) -> Judged:
    """A model whose errors are `level` times each unit's difficulty."""
    jitter = 1.0 + noise * np.random.default_rng(seed).standard_normal(UNITS)
    values: dict[str, Any] = {
        "coverage": 0.8,
        "bias": 0.0,
        "latency_ms": 5.0,
        "size_mb": 1.0,
    } | changes
    return Judged(name, level * DIFFICULTY * jitter, **values)


NAIVE = Judged("seasonal_naive", DIFFICULTY)
NONE = Found(0, 40)
SAME = Revision(
    lost=NONE,
    new=NONE,
    revised=Found(0, 1000),
    shifted=NONE,
    jumped=NONE,
    stale=NONE,
    ahead=0,
    ahead_id="",
    newest=Change(0.05, 0.1),
    unlike=Change(-0.02, 0.1),
    fallen=Change(0.0, 0.0),
    horizon=6,
)
CHAMPION = model("champion", 0.8, seed=1)
GOOD = model("gru", 0.7)


def failed(decision: Decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def test_the_first_model_is_promoted_when_it_beats_seasonal_naive() -> None:
    decision = decide(GOOD, None, NAIVE, QUICK)
    assert decision.promote
    assert decision.champion is None
    assert decision.reason.startswith("passed: mase 0.")
    assert "seasonal naive" in decision.reason


def test_a_better_challenger_replaces_the_champion() -> None:
    decision = decide(GOOD, CHAMPION, NAIVE, QUICK)
    assert decision.promote
    assert decision.champion == "champion"


@settings(max_examples=60, deadline=None)
@given(loss=st.floats(0.10, 3.0), seed=st.integers(0, 1000))
def test_one_clearly_worse_than_the_champion_is_always_refused(loss: float, seed: int) -> None:
    worse = model("gru", 0.8 * (1 + loss), seed=seed)
    lenient = replace_config(max_segment_loss=100.0)
    assert "mase against the champion" in failed(decide(worse, CHAMPION, NAIVE, lenient))


@settings(max_examples=60, deadline=None)
@given(level=st.floats(1.0, 5.0), noise=st.floats(0.0, 0.3), seed=st.integers(0, 1000))
def test_one_no_better_than_seasonal_naive_is_refused(
    level: float, noise: float, seed: int
) -> None:
    errors = level * DIFFICULTY
    errors = errors + noise * abs(np.random.default_rng(seed).standard_normal(UNITS))
    decision = decide(replace(GOOD, errors=errors), None, NAIVE, QUICK)
    assert "mase against seasonal naive" in failed(decision)


@settings(max_examples=60, deadline=None)
@given(gain=st.floats(0.05, 0.9), seed=st.integers(0, 1000))
def test_one_clearly_better_on_every_count_is_always_promoted(gain: float, seed: int) -> None:
    assert decide(model("gru", 0.8 * (1 - gain), seed=seed), CHAMPION, NAIVE, QUICK).promote


def test_luck_on_a_few_units_does_not_promote() -> None:
    errors = DIFFICULTY.copy()
    errors[:2] = 0.0
    lucky = replace(GOOD, errors=errors)
    assert lucky.mean < NAIVE.mean
    assert "mase against seasonal naive" in failed(decide(lucky, None, NAIVE, QUICK))


def test_luck_on_a_few_units_does_not_replace_the_champion() -> None:
    """Better on average for two units' sake: the interval reaches beyond the margin."""
    errors = 1.05 * CHAMPION.errors
    errors[:3] = 0.0
    lucky = replace(GOOD, errors=errors)
    assert lucky.mean < CHAMPION.mean
    decision = decide(lucky, CHAMPION, NAIVE, replace_config(max_segment_loss=100.0))
    assert failed(decision) == ["mase against the champion"]


@pytest.mark.parametrize(("share", "passes"), [(0.0, True), (0.01, True), (0.05, False)])
def test_the_margin_says_how_much_worse_is_still_no_worse(share: float, passes: bool) -> None:
    challenger = Judged("gru", CHAMPION.errors * (1 + share), coverage=0.8, bias=0.0)
    config = replace_config(margin=0.02)
    assert decide(challenger, CHAMPION, NAIVE, config).promote is passes


def test_a_retrained_twin_of_the_champion_passes() -> None:
    assert decide(replace(CHAMPION, name="gru"), CHAMPION, NAIVE, QUICK).promote


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    broken = replace(GOOD, finite=False)
    assert failed(decide(broken, None, NAIVE, QUICK)) == ["finite forecasts"]
    all_wrong = replace(GOOD, errors=np.full(UNITS, value))
    assert not decide(all_wrong, None, NAIVE, QUICK).promote
    assert not decide(all_wrong, CHAMPION, NAIVE, QUICK).promote


def test_units_without_a_forecast_are_left_out_until_they_are_many() -> None:
    errors = GOOD.errors.copy()
    errors[:2] = np.nan
    assert decide(replace(GOOD, errors=errors, refused=0.04), CHAMPION, NAIVE, QUICK).promote
    many = replace(GOOD, errors=errors, refused=0.2)
    assert failed(decide(many, CHAMPION, NAIVE, QUICK)) == ["finite forecasts"]


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"coverage": 0.5}, "coverage of the 80 % interval"),
        ({"coverage": 0.99}, "coverage of the 80 % interval"),
        ({"coverage": float("nan")}, "coverage of the 80 % interval"),
        ({"bias": 0.3}, "relative bias"),
        ({"bias": -0.3}, "relative bias"),
        ({"bias": float("nan")}, "relative bias"),
        ({"latency_ms": 251.0}, "latency"),
        ({"latency_ms": float("nan")}, "latency"),
        ({"size_mb": 201.0}, "size"),
    ],
)
def test_each_guard_refuses_alone_and_is_named(changes: dict[str, float], check: str) -> None:
    decision = decide(replace(GOOD, **changes), CHAMPION, NAIVE, QUICK)
    assert failed(decision) == [check]
    assert check in decision.reason
    assert decision.reason.startswith("refused: ")


def test_data_that_moved_too_far_is_refused_and_a_little_is_not() -> None:
    assert decide(GOOD, CHAMPION, NAIVE, QUICK, drift=0.2).promote
    assert failed(decide(GOOD, CHAMPION, NAIVE, QUICK, drift=1.5)) == ["shift of the data"]
    assert failed(decide(GOOD, CHAMPION, NAIVE, QUICK, drift=float("inf"))) == ["shift of the data"]


def test_a_segment_that_loses_is_named_though_the_whole_gains() -> None:
    segments = np.array(["north"] * 30 + ["south"] * 10, dtype=object)
    errors = CHAMPION.errors * np.where(segments == "south", 1.5, 0.5)
    decision = decide(replace(GOOD, errors=errors), CHAMPION, NAIVE, QUICK, segments=segments)
    assert failed(decision) == ["worst segment"]
    assert "south: +50.0 % against champion" in decision.reason


def test_a_segment_of_a_few_units_says_nothing() -> None:
    segments = np.array(["north"] * 37 + ["south"] * 3, dtype=object)
    errors = CHAMPION.errors * np.where(segments == "south", 1.5, 0.5)
    challenger = replace(GOOD, errors=errors)
    assert decide(challenger, CHAMPION, NAIVE, QUICK, segments=segments).promote


def test_a_champion_that_cannot_be_judged_is_replaced_by_a_person_only() -> None:
    decision = decide(GOOD, None, NAIVE, QUICK, champion_problem="its files are gone")
    assert failed(decision) == ["mase against the champion"]
    assert "its files are gone" in decision.reason


def test_the_decision_is_a_table_a_person_can_read() -> None:
    decision = decide(replace(GOOD, bias=0.5), CHAMPION, NAIVE, QUICK, drift=0.1)
    table = decision.table()
    assert list(table.columns) == ["check", "value", "limit", "passed", "detail"]
    row = table.set_index("check").loc["relative bias"]
    assert (row["value"], row["limit"], row["passed"]) == ("+50.0 %", "within 20 %", "NO")
    lines = decision.markdown().splitlines()
    assert len(lines) == 2 + len(decision.checks)
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines)
    assert not table.isna().any().any()


def test_the_same_evidence_gives_the_same_decision() -> None:
    assert decide(GOOD, CHAMPION, NAIVE, QUICK) == decide(GOOD, CHAMPION, NAIVE, QUICK)


def replace_config(**changes: Any) -> GateConfig:
    return QUICK.model_copy(update=changes)


@pytest.mark.parametrize("checks", [OF_THE_MODEL, OF_THE_DATA], ids=["model", "data"])
def test_a_new_check_is_one_function_in_its_table_with_its_limit_in_the_config(
    monkeypatch: pytest.MonkeyPatch, checks: dict[str, Any]
) -> None:
    class Wider(GateConfig):
        max_worst: float = 2.0

    def worst_unit(case: Case) -> Answer:
        worst, limit = float(np.nanmax(case.challenger.errors)), case.config.max_worst  # type: ignore[attr-defined]
        return Answer("worst unit", f"{worst:.1f}", f"{limit:g}", worst <= limit)

    monkeypatch.setitem(checks, "worst", worst_unit)
    assert decide(GOOD, CHAMPION, NAIVE, Wider(samples=300)).promote
    refusal = decide(GOOD, CHAMPION, NAIVE, Wider(samples=300, max_worst=0.1))
    assert refusal.failed == {"worst"}
    assert "worst unit" in refusal.reason
    assert "worst unit" in set(refusal.table()["check"])
    assert refusal.doubts_the_data is (checks is OF_THE_DATA)
    # A person may take data as they are; not a model.
    accepted = decide(
        GOOD, CHAMPION, NAIVE, Wider(samples=300, max_worst=0.1), before=Before(accepted="known")
    )
    assert accepted.promote is (checks is OF_THE_DATA)


def test_the_keys_of_a_decision_are_those_of_the_table() -> None:
    segments = np.array(["north"] * 30 + ["south"] * 10, dtype=object)
    before = Before(SAME, problem="both, to have every line")
    decision = decide(GOOD, CHAMPION, NAIVE, QUICK, segments=segments, drift=0.1, before=before)
    assert [check.key for check in decision.checks] == list(all_checks())


def test_a_delivery_that_goes_on_passes() -> None:
    decision = decide(GOOD, CHAMPION, NAIVE, QUICK, before=Before(SAME))
    assert decision.promote
    assert {"lost", "new", "revised", "shifted", "jumped", "stale", "ahead", "newest", "unlike"} < {
        check.key for check in decision.checks
    }


@pytest.mark.parametrize(
    ("harm", "key", "said"),
    [
        ({"lost": Found(9, 40, "a|b")}, "lost", "series lost 22.5 % (9 of 40, such as 'a|b')"),
        ({"new": Found(31, 60, "x")}, "new", "series new 51.7 %"),
        ({"revised": Found(101, 1000, "x")}, "revised", "values revised 10.1 %"),
        ({"shifted": Found(3, 40, "x")}, "shifted", "moved against their stamps 7.5 %"),
        ({"jumped": Found(5, 40, "x")}, "jumped", "whose clock jumped 12.5 %"),
        ({"stale": Found(9, 40, "x")}, "stale", "fallen behind 22.5 %"),
        ({"ahead": 7, "ahead_id": "x"}, "ahead", "ahead 7 steps ('x') (limit 6 steps)"),
        ({"newest": Change(0.7, 0.1)}, "newest", "2.01 times the usual (limit 0.67 to 1.49)"),
        ({"newest": Change(-0.7, 0.1)}, "newest", "0.497 times the usual"),
        ({"newest": Change(0.7, 0.69)}, "newest", "limit 0.502 to 1.99"),
        ({"unlike": Change(0.5, 0.1)}, "unlike", "unlike themselves +0.5 |ln|"),
        ({"fallen": Change(0.5, 0.1)}, "fallen", "at 0 or of another sign 50.0 %"),
    ],
)
def test_a_delivery_that_is_another_is_refused_by_one_line_unless_a_person_takes_it(
    harm: dict[str, Any], key: str, said: str
) -> None:
    revision = replace(SAME, **harm)
    decision = decide(GOOD, CHAMPION, NAIVE, QUICK, before=Before(revision))
    assert decision.failed == {key}
    assert said in decision.reason
    assert decision.doubts_the_data
    taken = decide(GOOD, CHAMPION, NAIVE, QUICK, before=Before(revision, accepted="rebased"))
    assert taken.promote
    assert not taken.doubts_the_data
    assert "accepted: rebased" in taken.reason
    worse = decide(CHAMPION, GOOD, NAIVE, QUICK, before=Before(revision, accepted="rebased"))
    assert worse.failed == {"champion"}, "what is accepted is the data, not the model"


def test_each_limit_of_a_delivery_stands_in_the_config() -> None:
    revision = replace(
        SAME,
        lost=Found(9, 10, "x"),
        new=Found(9, 10, "x"),
        revised=Found(9, 10, "x"),
        shifted=Found(9, 10, "x"),
        jumped=Found(9, 10, "x"),
        stale=Found(9, 10, "x"),
        ahead=90,
        newest=Change(3.0, 0.0),
        unlike=Change(3.0, 0.0),
        fallen=Change(1.0, 0.0),
    )
    shares = ("lost", "new", "revised", "shifted", "jumped", "stale")
    wide = {f"max_{name}": 0.95 for name in shares}
    wide |= {"max_ahead": 100, "max_newest": 4.0, "max_unlike": 4.0, "max_fallen": 1.0}
    for left_out in wide:
        config = replace_config(**{k: v for k, v in wide.items() if k != left_out})
        decision = decide(GOOD, CHAMPION, NAIVE, config, before=Before(revision))
        assert decision.failed == {left_out.removeprefix("max_")}
    assert decide(GOOD, CHAMPION, NAIVE, replace_config(**wide), before=Before(revision)).promote


def test_what_came_before_and_cannot_be_read_is_accepted_by_a_person_only() -> None:
    decision = decide(GOOD, CHAMPION, NAIVE, QUICK, before=Before(problem="its file is gone"))
    assert decision.failed == {"before"}
    assert "its file is gone" in decision.reason
    assert decide(
        GOOD, CHAMPION, NAIVE, QUICK, before=Before(problem="it is gone", accepted="looked at it")
    ).promote


def test_a_shift_is_accepted_with_the_restatement_that_made_it() -> None:
    before = Before(accepted="now in thousands")
    assert decide(GOOD, CHAMPION, NAIVE, QUICK, drift=6.9, before=before).promote


def test_a_decision_is_written_line_for_line_and_says_whom_it_judged() -> None:
    checks = (
        Check("a", "error", "1", "2", passed=True, detail="better"),
        Check("b", "bias", "|x| 9", "3", passed=False),
    )
    decision = Decision("gru", "gru before", "mase", checks)
    assert decision.markdown().splitlines() == [
        "| check | value | limit | passed |",
        "|---|---|---|---|",
        "| error | 1 | 2 | yes |",
        "| bias | \\|x\\| 9 | 3 | **no** |",
    ]
    assert decision.table().to_dict("records") == [
        {"check": "error", "value": "1", "limit": "2", "passed": "yes", "detail": "better"},
        {"check": "bias", "value": "|x| 9", "limit": "3", "passed": "NO", "detail": ""},
    ]
    none = Decision("gru", None, "mase").table()
    assert list(none.columns) == ["check", "value", "limit", "passed", "detail"]
    judged = decide(GOOD, CHAMPION, NAIVE, QUICK)
    assert (judged.challenger, judged.champion) == (GOOD.name, CHAMPION.name)
    assert judged.metric == QUICK.metric
    assert decide(GOOD, None, NAIVE, QUICK).champion is None
