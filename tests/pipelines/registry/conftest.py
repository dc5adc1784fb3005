"""A tracking store of this folder's own, and versions of a model of each test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forecasting.signing import SigningKey
from pipelines.registry.registry import Registry
from pipelines.tracking.tracker import Tracker

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "format-1"


@pytest.fixture(scope="module")
def tracker(state: Path) -> Tracker:
    return Tracker.open("registry", system_metrics=False)


@pytest.fixture(scope="module")
def registry(tracker: Tracker) -> Registry:
    return Registry(tracker.client)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A model of the test's own."""
    return request.node.name.replace("test_", "", 1)[:90]


@pytest.fixture
def add(tracker: Tracker, registry: Registry, name: str) -> Callable[..., int]:
    """Register one more version of the test's model."""

    def register(
        signer: SigningKey | None = None, *, judged: Path | None = None, **tags: Any
    ) -> int:
        with tracker.run("a run") as run:
            return registry.register(
                name,
                run,
                BUNDLE,
                judged=judged,
                tags={"gate": "passed", **tags},
                description="A model.",
                signer=signer,
            )

    return register
