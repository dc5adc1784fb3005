"""The versions that answer: fetched, checked, warmed, and swapped in as one reference."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from forecasting import bundle
from forecasting.errors import BundleError, GatecastError
from forecasting.prediction.engine import Engine
from forecasting.prediction.example import example_panel
from forecasting.prediction.predictor import Predictor
from forecasting.prediction.reading import EXPONENTIAL
from serving.models.batcher import SMALL, Model
from serving.models.registry import Registry, RegistryError, Version, fetch, open_registry
from serving.models.remembered import cache_folder, remember, remembered
from serving.reading.query import Limits, Spec
from serving.running import logs
from serving.running.metrics import Metrics
from serving.settings import ServingSettings
from serving.writing.answer import Origin

GOLDEN_TOLERANCE = 1e-4
# A batch that takes longer runs beside the event loop, which answers health checks meanwhile.
HEAVY_SECONDS = 0.03
KEPT_VERSIONS = 4
LONGEST_PAUSE = 300.0


class VersionError(GatecastError):
    """A version that must not answer: unfinished, damaged, or with another answer than it had."""


@dataclass(frozen=True)
class Loaded(Model):
    """One version in memory. Nothing in it ever changes: a swap replaces the whole."""

    version: Version
    manifest: dict[str, Any]
    folder: Path
    loaded_at: float


class Keeper:
    """Follows the alias of one model. `current` is what answers."""

    def __init__(
        self, name: str, settings: ServingSettings, registry: Registry, metrics: Metrics
    ) -> None:
        self.name, self.settings = name, settings
        self.registry, self.metrics = registry, metrics
        self.folder = cache_folder(settings, name)
        self.current: Loaded | None = None
        self.problem: str | None = None
        self._turn = threading.Lock()
        self._failed: dict[tuple[int, str | None], tuple[int, float]] = {}

    def refresh(self, *, patient: bool = False) -> bool:
        """Follow the alias; True when another version answers now.

        Parameters
        ----------
        patient : leave a version that failed alone for a while, as polling does.

        Raises
        ------
        GatecastError : what answers stays; the reason is counted and logged.
        """
        with self._turn:
            try:
                version = self.registry.resolve(self.name, self.settings.alias)
            except GatecastError as error:
                reason = "registry" if isinstance(error, RegistryError) else "unknown"
                return self._without_registry(error, reason)
            self.metrics.seen(self.name)
            now = self.current
            if now and (now.version.number, now.version.digest) == (version.number, version.digest):
                self.problem = None
                return False
            key = (version.number, version.digest)
            count, not_before = self._failed.get(key, (0, 0.0))
            if patient and time.monotonic() < not_before:
                return False
            try:
                self._swap(self._load(version))
            except GatecastError as error:
                pause = min(self.settings.poll_seconds * 2**count, LONGEST_PAUSE)
                self._failed[key] = (count + 1, time.monotonic() + pause)
                self._count_failure(error, "version", version)
                raise
            self._failed.clear()
            return True

    def _without_registry(self, error: GatecastError, reason: str) -> bool:
        """Go on with what answers, or with what was followed when this service last ran."""
        self._count_failure(error, reason, None)
        if self.current is None and isinstance(error, RegistryError):
            last = remembered(self.settings, self.name)
            if last is not None:
                self._swap(self._load(last))
                return True
        raise error

    def _count_failure(self, error: GatecastError, reason: str, version: Version | None) -> None:
        self.metrics.failures.labels(self.name, reason).inc()
        if self.problem != str(error):
            logs.warning(
                "the version that answers stays" if self.current else "no version to answer with",
                model=self.name,
                version=version.number if version else None,
                reason=str(error),
            )
        self.problem = str(error)

    def _load(self, version: Version) -> Loaded:
        if version.digest is None:
            raise VersionError(
                f"version {version.number} of {self.name!r} was never finished (it has no "
                "bundle_sha256 tag); promote another, or train again"
            )
        folder = self._in_cache(version)
        predictor, manifest = open_bundle(folder, self.settings)
        check_golden(predictor, manifest, folder)
        limits = Limits(
            self.settings.max_series, self.settings.max_output, self.settings.max_horizon
        )
        horizon = predictor.config.horizon
        return Loaded(
            predictor=predictor,
            spec=Spec(predictor.freq, predictor.schema, horizon, limits),
            origin=Origin(self.name, version.number, version.run_id, horizon),
            heavy=is_heavy(predictor),
            version=version,
            manifest=manifest,
            folder=folder,
            loaded_at=time.time(),
        )

    def _in_cache(self, version: Version) -> Path:
        folder = self.folder / str(version.digest)
        if _digest(folder) == version.digest:
            try:
                bundle.verify(folder)
                return folder
            except BundleError:
                logs.warning("a file in the cache is damaged: fetching again", folder=str(folder))
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=self.folder))
        try:
            fetch(version, scratch, self.settings.store)
            if _digest(scratch) != version.digest:
                raise VersionError(
                    f"version {version.number} of {self.name!r} is not what was registered (its "
                    "manifest has another SHA-256); roll back, or train again"
                )
            bundle.verify(scratch)
            self._place(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._tidy(folder)
        return folder

    def _place(self, scratch: Path, folder: Path) -> None:
        scratch.chmod(0o755)
        for _ in range(2):
            try:
                scratch.rename(folder)
                return
            except OSError:
                # Another worker was faster, or a damaged folder is in the way.
                if _digest(folder) == _digest(scratch) and _whole(folder):
                    return
                shutil.rmtree(folder, ignore_errors=True)
        raise VersionError(f"cannot write {folder}: check its permissions and the space left")

    def _tidy(self, newest: Path) -> None:
        kept = [f for f in self.folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
        kept.sort(key=lambda f: f.stat().st_mtime, reverse=True)
        for folder in kept[KEPT_VERSIONS:]:
            if folder != newest and (self.current is None or folder != self.current.folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _swap(self, loaded: Loaded) -> None:
        before = self.current
        self.current = loaded
        self.problem = None
        metrics, name = self.metrics, self.name
        metrics.version.labels(name).set(loaded.version.number)
        metrics.loaded.labels(name).set(loaded.loaded_at)
        metrics.created.labels(name).set(_created(loaded.manifest))
        if before is not None:
            metrics.swaps.labels(name).inc()
        logs.info(
            "version loaded",
            model=name,
            version=loaded.version.number,
            instead_of=before.version.number if before else None,
        )
        try:
            remember(self.settings, loaded.version)
        except OSError as error:
            logs.warning("the version cannot be remembered for a start offline", reason=str(error))


class Models:
    """All models of the service; the first is the default."""

    def __init__(self, settings: ServingSettings, metrics: Metrics) -> None:
        registry = open_registry(settings.store)
        self.settings, self.registry = settings, registry
        self.keepers = {n: Keeper(n, settings, registry, metrics) for n in settings.models}

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
            try:
                keeper.refresh()
            except GatecastError:
                continue

    async def follow(self) -> None:
        """Poll the aliases for as long as the worker lives."""
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            for keeper in self.keepers.values():
                try:
                    await asyncio.to_thread(keeper.refresh, patient=True)
                except GatecastError:
                    continue
                except Exception as error:
                    logs.error("polling failed", model=keeper.name, reason=repr(error))


def open_bundle(folder: Path, settings: ServingSettings) -> tuple[Engine, dict[str, Any]]:
    """The engine that is configured, and the bundle's manifest."""
    if settings.device == "cuda":
        from forecasting.forecaster import Forecaster

        return Forecaster.load(folder, device="cuda"), bundle.verify(folder)
    predictor = Predictor.load(folder, threads=settings.engine_threads)
    return predictor, predictor.manifest


def check_golden(engine: Engine, manifest: dict[str, Any], folder: Path) -> None:
    """Answer the golden input: warms the engine, and proves that it computes what it did."""
    golden = manifest.get("golden")
    if not golden:
        raise BundleError(f"{folder} holds no golden answer; train the model again")
    forecast = engine.predict_panel(example_panel(engine, 1), quantiles=tuple(golden["levels"]))
    answers = {"mean": forecast.mean[0], "quantiles": forecast.quantiles[0]}
    model = engine.config.model
    other_mean = model.transform in EXPONENTIAL or model.head == "negative_binomial"
    if golden.get("arithmetic", 1) < 2 and other_mean:
        del answers["mean"]  # it was made in another way, of the same quantiles
    for name, found in answers.items():
        expected = np.asarray(golden[name])
        room = GOLDEN_TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=room):
            raise VersionError(
                f"{folder} no longer gives the {name} it gave when it was saved: the file or the "
                "runtime has changed; train the model again"
            )


def is_heavy(engine: Engine) -> bool:
    """Whether a full batch takes long; warms the engine for batches, too."""
    panel, seconds = example_panel(engine, SMALL), []
    for _ in range(2):
        began = time.perf_counter()
        engine.predict_panel(panel)
        seconds.append(time.perf_counter() - began)
    return min(seconds) > HEAVY_SECONDS


def _digest(folder: Path) -> str | None:
    try:
        return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    except OSError:
        return None


def _whole(folder: Path) -> bool:
    try:
        bundle.verify(folder)
    except BundleError:
        return False
    return True


def _created(manifest: dict[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(manifest.get("created"))).timestamp()
    except ValueError:
        return float("nan")
