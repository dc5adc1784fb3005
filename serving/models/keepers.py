"""All models of a service, followed for as long as it lives."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from forecasting.errors import GatecastError
from serving.models.keeper import Keeper
from serving.models.pretrained import NAME as PRETRAINED
from serving.models.pretrained import Included
from serving.models.registry import open_registry
from serving.models.rival import Rival
from serving.running import logs
from serving.running.daemons import beside
from serving.running.metrics import Metrics
from serving.settings import ServingSettings

NUDGE_SECONDS: Final = 0.2  # between looks whether somebody told of a promotion


class Keepers:
    """All models of the service; the first is the default. ``rivals`` : their challengers."""

    def __init__(self, settings: ServingSettings, metrics: Metrics) -> None:
        registry = open_registry(settings.store)
        self.settings, self.registry = settings, registry
        self.keepers: dict[str, Keeper | Included] = {
            n: Included(settings, metrics)
            if n == PRETRAINED
            else Keeper(n, settings, registry, metrics)
            for n in settings.models
        }
        self.rivals = {
            n: Rival(k)
            for n, k in self.keepers.items()
            if settings.compares and isinstance(k, Keeper)
        }

    @property
    def default(self) -> str:
        """Name of the model that answers where a request names none."""
        return next(iter(self.keepers))

    @property
    def ready(self) -> bool:
        """Whether every model has a version that answered its golden input."""
        return all(keeper.current is not None for keeper in self.keepers.values())

    def load(self) -> None:
        """Load what can be loaded; a model that cannot stays empty and is tried again."""
        for keeper in self.keepers.values():
            _follow(keeper)

    async def follow(self) -> None:
        """Poll the aliases for as long as the worker lives; none waits for another."""
        await asyncio.gather(
            *(self._follow_one(keeper) for keeper in self.keepers.values()),
            # Not before the first request: a challenger keeps nobody waiting.
            *(self._follow_one(rival, at_once=True) for rival in self.rivals.values()),
        )

    async def _follow_one(self, keeper: Keeper | Included, *, at_once: bool = False) -> None:
        seen = keeper.nudges()
        if at_once:
            await beside(lambda: _follow(keeper), f"follow {keeper.name}'s challenger")
        while True:
            end = time.monotonic() + self.settings.poll_seconds
            while keeper.nudges() == seen and (seconds := end - time.monotonic()) > 0:
                await asyncio.sleep(min(seconds, NUDGE_SECONDS))
            # Before the look: who nudges meanwhile is heard afterwards.
            seen = keeper.nudges()
            await beside(lambda: _follow(keeper), f"follow {keeper.name}")


def _follow(keeper: Keeper | Included) -> None:
    try:
        keeper.refresh(patient=True)
    except GatecastError:
        # Counted, logged and shown by the keeper.
        return
    except Exception as error:
        logs.failure("polling failed", error, model=keeper.name)
