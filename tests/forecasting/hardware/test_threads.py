"""A training takes no more threads than it was given, and none that would wait more than work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from forecasting.hardware.shares import cores
from forecasting.hardware.threads import WORTH_WAKING, threads_of, worthwhile_threads
from tests.forecasting.samples import settings


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("given", [1, 2, 3])
def test_threads_that_a_user_set_stay_and_the_settings_go_before_them(given: int) -> None:
    torch.set_num_threads(given)
    left_open = settings(training={"threads": None})
    with threads_of(left_open):
        assert torch.get_num_threads() == min(given, cores())
    with threads_of(settings(training={"threads": 2})):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == given


@pytest.mark.parametrize("policy", [None, "PASSIVE", "ACTIVE"])
def test_small_networks_take_one_thread_however_threads_wait(
    policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if policy is None:
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    torch.set_num_threads(2)
    with worthwhile_threads(WORTH_WAKING // 64, 63):
        assert torch.get_num_threads() == 1
    with worthwhile_threads(WORTH_WAKING // 64, 64):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2
