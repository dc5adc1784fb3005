"""The challenger beside a champion: followed as the champion is, and harmless whatever it is."""

from __future__ import annotations

from pathlib import Path

from forecasting.errors import GatecastError
from serving.models.keeper import Keeper, Loaded, key_of, kind_of
from serving.models.registry import RegistryError, Version
from serving.running import logs
from serving.running.masking import hide


class Rival(Keeper):
    """The challenger beside a champion; `current` is None where there is none, or a broken one.

    Whatever becomes of it, the champion answers.
    """

    def __init__(self, champion: Keeper) -> None:
        settings = champion.settings
        # A shadow computes beside requests: on one thread, that it can be a humble one.
        own = {"alias": settings.challenger} | ({} if settings.canary else {"threads": 1})
        super().__init__(
            champion.name, settings.model_copy(update=own), champion.registry, champion.metrics
        )
        self.champion = champion

    def refresh(self, *, patient: bool = False) -> bool:
        """Follow the challenger's alias; True when it is another version now, or none.

        Raises
        ------
        GatecastError : a challenger that cannot be loaded, which is counted; then there is none.
        """
        with self._turn:
            try:
                version = self._resolve()
            except RegistryError:
                # The champion's keeper counts and says it.
                return False
            except GatecastError:
                return self._set(None)
            key = key_of(version)
            leading = self.champion.current
            if leading is not None and key_of(leading.version) == key:
                return self._set(None)
            if patient and self._is_put_off(key):
                return False
            try:
                if self.current is not None and key_of(self.current.version) == key:
                    self.cache.check_signature(self.current.folder, version)
                    return False
                loaded = self._load(version)
            except GatecastError as error:
                self._put_off(key)
                self._count_failure(error, kind_of(error), version)
                self._set(None)
                raise
            self._failed.clear()
            self.problem = None
            return self._set(loaded)

    def _set(self, loaded: Loaded | None) -> bool:
        before, self.current = self.current, loaded
        self.metrics.challenger.labels(self.name).set(loaded.version.number if loaded else 0)
        if before is loaded:
            return False
        logs.info(
            "challenger loaded" if loaded else "no challenger",
            model=self.name,
            version=loaded.version.number if loaded else None,
            instead_of=before.version.number if before else None,
        )
        return True

    def _in_use(self) -> Path | None:
        return self.champion._in_use()

    def _count_failure(self, error: GatecastError, reason: str, version: Version | None) -> None:
        self.metrics.challenger_failures.labels(self.name, reason).inc()
        problem = hide(str(error))
        if self.problem != problem:
            logs.warning(
                "the challenger cannot be used, and the champion answers",
                model=self.name,
                version=version.number if version else None,
                reason=problem,
            )
        self.problem = problem
