"""Small models and a registry, as the service's own tests have them."""

from __future__ import annotations

from tests.serving.conftest import (
    _own_environment,
    app,
    call,
    hourly,
    plain,
    plain_again,
    rich,
    settings,
    steps,
    store,
)

__all__ = [
    "_own_environment",
    "app",
    "call",
    "hourly",
    "plain",
    "plain_again",
    "rich",
    "settings",
    "steps",
    "store",
]
