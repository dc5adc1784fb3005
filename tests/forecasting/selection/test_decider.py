"""One procedure: what is decided by held-back origins, and what those are used for afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.arrays import Array
from forecasting.selection.decider import Decided, Decider
from forecasting.selection.held_back import Evidence, Origin
from forecasting.selection.shares import with_shares
from tests.forecasting.samples import make_panel, settings, untrained

POOL = {"pool": {"theta": 0.5, "damped": 0.5}, "blend": 0.3}
OPEN = Decider(blend=True, pool=True)


def evidence_of(backs: list[int], lengths: list[int] | None = None) -> Evidence:
    panel = make_panel(lengths or [60, 50, 40, 30], positive=True)
    forecaster = untrained(settings(model=POOL), members=1)
    config = forecaster.config
    return Evidence.of(forecaster.networks, Origin.each(panel, config, backs), config)


def of_origins(evidence: Evidence, numbers: list[int]) -> Evidence:
    return replace(
        evidence,
        origins=tuple(evidence.origins[k] for k in numbers),
        readings=tuple(evidence.readings[k] for k in numbers),
    )


def altered(evidence: Evidence, number: int, actual: Array) -> Evidence:
    origins = list(evidence.origins)
    origins[number] = replace(origins[number], actual=actual)
    return replace(evidence, origins=tuple(origins))


def test_each_origin_calibrates_under_the_shares_of_the_others() -> None:
    """The slow way: choose by the origins that are left, and read the errors of the one."""
    evidence = evidence_of([16, 12, 8, 4])
    decided = OPEN.decide(evidence)
    found = decided.unseen_errors()
    for number in range(4):
        others = [k for k in range(4) if k != number]
        chosen = with_shares(of_origins(evidence, others), blend=True, pool=True).config
        alone = replace(of_origins(evidence, [number]), config=chosen)
        np.testing.assert_allclose(found[number], alone.errors_in_spreads()[0])
    assert decided.settled.config != evidence.config


def test_of_a_single_origin_each_half_of_the_series_calibrates_under_the_others_shares() -> None:
    evidence = evidence_of([4])
    found = OPEN.decide(evidence).unseen_errors()[0]
    for half in ([0, 2], [1, 3]):
        hidden = evidence.origins[0].actual.copy()
        hidden[half] = np.nan
        chosen = with_shares(altered(evidence, 0, hidden), blend=True, pool=True).config
        expected = replace(evidence, config=chosen).errors_in_spreads()[0]
        np.testing.assert_allclose(found[half], expected[half])


@pytest.mark.parametrize(
    ("decider", "lengths"), [(Decider(), None), (Decider(pool=True), [30])], ids=["set", "lone"]
)
def test_where_nothing_is_open_or_left_the_errors_are_those_of_what_is_kept(
    decider: Decider, lengths: list[int] | None
) -> None:
    decided = decider.decide(evidence_of([4], lengths))
    for found, kept in zip(
        decided.unseen_errors(), decided.settled.errors_in_spreads(), strict=True
    ):
        np.testing.assert_array_equal(found, kept)


def test_what_an_origin_says_moves_nothing_by_which_its_own_errors_are_read() -> None:
    evidence = evidence_of([16, 12, 8, 4])
    far = 3.0 * evidence.origins[2].actual
    decided = [OPEN.decide(e) for e in (evidence, altered(evidence, 2, far))]
    ours, others = (d.unseen_errors() for d in decided)
    values, spread = decided[0].settled.quantiles(2, 0.0)
    assert values.shape == ours[2].shape
    transform = evidence.config.model.y_transform
    moved = transform.forward(far) - transform.forward(evidence.origins[2].actual)
    np.testing.assert_allclose(
        others[2] - ours[2],
        np.broadcast_to((moved / spread[:, None])[..., None], ours[2].shape),
        atol=1e-9,
    )
    assert isinstance(decided[1], Decided)
    assert decided[1].settled.config != decided[0].settled.config
