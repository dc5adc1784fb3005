"""The versions that answer: fetched, checked, warmed, and swapped in as one reference."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from forecasting import bundle
from forecasting.errors import BundleError, GatecastError, SignatureError
from forecasting.prediction.answers import Answers
from forecasting.prediction.engine import Engine
from forecasting.prediction.example import example_panel
from forecasting.prediction.predictor import Predictor
from serving.models.batcher import SMALL, Servable
from serving.models.cache import Cache, VersionError
from serving.models.registry import Registry, RegistryError, Version
from serving.models.remembered import remember, remembered
from serving.reading.query import Limits, Spec
from serving.running import logs
from serving.running.daemons import within
from serving.running.masking import hide
from serving.running.metrics import Metrics
from serving.settings import ServingSettings
from serving.writing.answer import Origin

GOLDEN_TOLERANCE: Final = 1e-4
# A batch that takes longer runs beside the event loop, which answers health checks meanwhile.
HEAVY_SECONDS: Final = 0.03
LONGEST_PAUSE: Final = 300.0  # seconds between tries of a version that failed
NUDGE: Final = "nudge"
WATCH_TAG: Final = "watch"  # what `gatecast monitor` said last of a version
DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Key = tuple[int, str | None]


@dataclass(frozen=True)
class Loaded(Servable):
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
        self.cache = Cache(name, settings)
        self.current: Loaded | None = None
        self.problem: str | None = None
        self._turn = threading.Lock()
        self._nudges = 0
        self._failed: dict[Key, tuple[int, float]] = {}
        self._endless: set[Key] = set()

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
                version = self._resolve()
            except GatecastError as error:
                reason = "registry" if isinstance(error, RegistryError) else "unknown"
                self._count_failure(error, reason, None)
                if isinstance(error, RegistryError) and self._fall_back(None, error):
                    return True
                raise
            self.metrics.seen(self.name)
            self.metrics.judged(self.name, version.tags.get(WATCH_TAG))
            key, current = key_of(version), self.current
            if current is not None and key_of(current.version) == key:
                self._check_again(current)
                return False
            if patient and self._is_put_off(key):
                return False
            try:
                self._swap(self._load(version))
            except GatecastError as error:
                self._put_off(key)
                self._count_failure(error, kind_of(error), version)
                if self._fall_back(version, error):
                    return True
                raise
            self._failed.clear()
            return True

    def _is_put_off(self, key: Key) -> bool:
        """Whether a version failed so lately that it is left alone."""
        return key in self._failed and time.monotonic() < self._failed[key][1]

    def _put_off(self, key: Key) -> None:
        """Leave a version that failed alone, each time for longer."""
        count, _ = self._failed.get(key, (0, 0.0))
        pause = min(self.settings.poll_seconds * 2**count, LONGEST_PAUSE)
        self._failed[key] = (count + 1, time.monotonic() + pause)

    def nudge(self) -> None:
        """Let every worker of this replica look at the alias now: it is said to have moved."""
        self._nudges += 1
        with contextlib.suppress(OSError):
            # Where it cannot be written the other workers find out by polling.
            self.cache.folder.mkdir(parents=True, exist_ok=True)
            (self.cache.folder / NUDGE).write_text(str(time.time_ns()))

    def prefetch(self, alias: str) -> None:
        """Fetch and check what another alias points at, so that its promotion finds it here."""
        try:
            version = self._resolve(alias)
            if version.digest is not None and DIGEST.fullmatch(version.digest):
                self.cache.get(version, self._in_use())
        except GatecastError as error:
            # It is fetched when it is promoted, and then what is wrong with it counts.
            logs.info("cannot fetch ahead", model=self.name, alias=alias, reason=hide(str(error)))

    def nudges(self) -> tuple[int, int]:
        """What is another after each nudge, in whichever worker."""
        try:
            written = (self.cache.folder / NUDGE).stat().st_mtime_ns
        except OSError:
            written = 0
        return self._nudges, written

    def _in_use(self) -> Path | None:
        """The folder that must stay, however many others are fetched."""
        return self.current.folder if self.current else None

    def _check_again(self, current: Loaded) -> None:
        """Say it once when what answers would be refused now: its key was revoked meanwhile."""
        try:
            self.cache.check_signature(current.folder, current.version)
        except SignatureError as error:
            if self.problem != hide(str(error)):
                self._count_failure(error, error.reason, current.version)
            return
        self.problem = None

    def _resolve(self, alias: str | None = None) -> Version:
        try:
            return self.registry.resolve(self.name, alias or self.settings.alias)
        except GatecastError:
            raise
        except Exception as error:
            # Whatever a store, a driver or the network raises is the registry's failure.
            raise RegistryError(f"cannot read the model registry: {_reason(error)}") from error

    def _fall_back(self, failed: Version | None, error: GatecastError) -> bool:
        """Answer with what was followed when this service last ran, where nothing answers yet."""
        if self.current is not None:
            return False
        last = remembered(self.settings, self.name)
        if last is None or (failed is not None and key_of(last) == key_of(failed)):
            return False
        try:
            self._swap(self._load(last))
        except GatecastError as another:
            self._count_failure(another, kind_of(another), last)
            return False
        self.problem = hide(str(error))
        return True

    def _count_failure(self, error: GatecastError, reason: str, version: Version | None) -> None:
        self.metrics.failures.labels(self.name, reason).inc()
        problem = hide(str(error))
        if self.problem != problem:
            logs.warning(
                "the version that answers stays" if self.current else "no version to answer with",
                model=self.name,
                version=version.number if version else None,
                code=error.reason if isinstance(error, SignatureError) else None,
                reason=problem,
            )
        self.problem = problem

    def _load(self, version: Version) -> Loaded:
        """A version fetched, checked and warmed; whatever goes wrong is named as its fault."""
        if version.digest is None:
            raise VersionError(
                f"version {version.number} of {self.name!r} was never finished (it has no "
                "bundle_sha256 tag); promote another, or train again"
            )
        if not DIGEST.fullmatch(version.digest):
            raise VersionError(
                f"version {version.number} of {self.name!r} has a bundle_sha256 tag that is no "
                "SHA-256; promote another, or train again"
            )
        seconds = self.settings.load_seconds
        opened: list[Answers] = []
        try:
            folder = self.cache.get(version, self._in_use())
            if key_of(version) in self._endless:
                raise TimeoutError
            return within(
                seconds, lambda: self._opened(version, folder, opened), f"load {self.name}"
            )
        except GatecastError:
            raise
        except TimeoutError:
            # It may be running still: it is stopped, and not begun a second time.
            self._endless.add(key_of(version))
            for engine in opened:
                engine.stop()
            raise VersionError(
                f"version {version.number} of {self.name!r} did not answer its golden input "
                f"within {seconds:g} seconds; roll back, or train again (a restart tries it anew)"
            ) from None
        except Exception as error:
            raise VersionError(
                f"version {version.number} of {self.name!r} cannot be loaded: {_reason(error)}; "
                "roll back, or train again"
            ) from error

    def _opened(self, version: Version, folder: Path, opened: list[Answers]) -> Loaded:
        predictor, manifest = open_bundle(folder, self.settings)
        opened.append(predictor)
        check_golden(predictor, manifest, folder)
        horizon = predictor.config.horizon
        seconds = batch_seconds(predictor)
        return Loaded(
            predictor=predictor,
            spec=spec_of(predictor, Limits.of(self.settings)),
            origin=Origin(self.name, version.number, version.run_id, horizon),
            heavy=seconds > HEAVY_SECONDS,
            batch_seconds=seconds,
            version=version,
            manifest=manifest,
            folder=folder,
            loaded_at=time.time(),
        )

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


def open_bundle(folder: Path, settings: ServingSettings) -> tuple[Answers, dict[str, Any]]:
    """The engine that is configured, and the manifest, of a bundle whose signature was checked."""
    if settings.device == "cuda":
        from forecasting.forecaster import Forecaster

        forecaster = Forecaster.load(folder, device="cuda", trusted=True)
        return forecaster, bundle.verify(folder, trusted=True)
    predictor = Predictor.load(folder, threads=settings.engine_threads, trusted=True)
    return predictor, predictor.manifest


def spec_of(predictor: Engine, limits: Limits) -> Spec:
    """What a model expects of a request."""
    config = predictor.config
    days = config.occasions
    return Spec(
        predictor.freq,
        predictor.schema,
        config.horizon,
        limits,
        days_until=None if days is None else days.until,
        ahead=config.ahead,
        config=config,
        looked_at=predictor.context,
    )


def check_golden(engine: Engine, manifest: dict[str, Any], folder: Path) -> None:
    """Answer the golden input: warms the engine, and proves that it computes what it did."""
    golden = manifest.get("golden")
    if not golden:
        raise BundleError(f"{folder} holds no golden answer; train the model again")
    forecast = engine.predict_panel(example_panel(engine, 1), quantiles=tuple(golden["levels"]))
    answers = {"mean": forecast.mean[0], "quantiles": forecast.quantiles[0]}
    model = engine.config.model
    other_mean = model.y_transform.grows or model.counts
    if golden.get("arithmetic", 1) < 2 and other_mean:
        del answers["mean"]  # it was made in another way, of the same quantiles
    for name, answer in answers.items():
        expected = np.asarray(golden[name])
        room = GOLDEN_TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if answer.shape != expected.shape or not np.allclose(answer, expected, rtol=0, atol=room):
            raise VersionError(
                f"{folder} no longer gives the {name} it gave when it was saved: the file or the "
                "runtime has changed; train the model again"
            )


def batch_seconds(engine: Engine) -> float:
    """How long a full batch takes; warms the engine for batches, too."""
    panel, seconds = example_panel(engine, SMALL), []
    for _ in range(2):
        began = time.perf_counter()
        engine.predict_panel(panel)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def key_of(version: Version) -> Key:
    """What makes a version another."""
    return version.number, version.digest


def _reason(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return hide(f"{type(error).__name__}: {first}" if first else type(error).__name__)


def kind_of(error: GatecastError) -> str:
    """Under which a version's failure is counted."""
    return error.reason if isinstance(error, SignatureError) else "version"


def _created(manifest: dict[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(manifest.get("created"))).timestamp()
    except ValueError:
        return float("nan")
