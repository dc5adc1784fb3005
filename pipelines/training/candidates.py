"""Fitting: each candidate on what came before the backtest, and the winner on everything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from forecasting.errors import BundleError, DataError, need
from pipelines.config import ExperimentConfig
from pipelines.machine.say import Progress, Say, no_progress, silent
from pipelines.spread import fits
from pipelines.spread.task import Here, Place, Task
from pipelines.tracking.epochs import EpochLog
from pipelines.training.stages import StageResult, stage
from pipelines.training.trained import Trained, bundle_weights

if TYPE_CHECKING:
    from forecasting.config import ForecasterConfig
    from forecasting.data.panel import Panel
    from pipelines.data.prepare import Prepared
    from pipelines.tracking.run import Run
    from pipelines.tracking.tracker import Tracker

HISTORY, FACTS = "history.json", "facts.json"


def need_training() -> None:
    """`MissingGroupError` where networks cannot be trained: known at once, not after the data."""
    need("training", "torch", "pytorch_lightning", "onnxscript")


def origins(config: ExperimentConfig) -> list[int]:
    """The backtest's cutoffs as rows before each series' end, earliest first."""
    step = config.backtest.step or config.horizon
    return [config.horizon + k * step for k in reversed(range(config.backtest.windows))]


def split(data: Prepared, config: ExperimentConfig) -> Prepared:
    """What candidates may see: every series without its last rows, on which they are judged.

    Raises
    ------
    DataError
        When no series is long enough.
    """
    panel, rows_held_back = data.panel, origins(config)[0]
    longest = int(panel.lengths.max(initial=0))
    needed = rows_held_back + config.horizon
    if longest <= needed:
        name = panel.ids[int(panel.lengths.argmax())]
        raise DataError(
            f"the longest series, {name!r}, has {longest} rows, but horizon {config.horizon} with "
            f"{config.backtest.windows} backtest windows needs more than {needed}: lower horizon, "
            "backtest.windows or backtest.step"
        )
    return replace(data, panel=panel.truncate(rows_held_back, horizon=config.horizon))


@dataclass(frozen=True)
class Making:
    """How an experiment's models are made.

    Attributes
    ----------
    run, tracker : where a training's epochs are noted; None: nowhere.
    force : whether what the same inputs gave before is made again.
    progress : gets what is being trained and the share that is done.
    place : where it is trained. say : gets how long a training will take.
    """

    config: ExperimentConfig
    run: Run | None = None
    tracker: Tracker | None = None
    force: bool = False
    progress: Progress = no_progress
    place: Place = field(default_factory=Here)
    say: Say = silent

    def on_every_row(self) -> Making:
        """The same, shown by another name than the candidate's own, whose bar is full already."""
        progress = self.progress
        return replace(self, progress=lambda what, share: progress(f"on every row: {what}", share))

    def candidate(self, name: str, settings: ForecasterConfig, known: Prepared) -> Trained:
        """Fit one candidate into a bundle, or take the bundle the same inputs gave before."""
        inputs = {"data": known.digest, "settings": settings.model_dump(mode="json")}
        # Left open stays left open: what is chosen from the data goes by that.
        parcel = {"settings": settings.model_dump(mode="json", exclude_unset=True)}
        training = _Training(fits.ANEW, parcel, known.panel)
        refits = settings.training.validation == "refit"
        return self._fitted("fit", name, inputs, training, refits=refits)

    def carried_on(self, name: str, bundle: Path, data: Prepared) -> Trained:
        """Train on from a bundle, for a little.

        A candidate goes on from the champion that has not read the rows of the backtest. What is
        served goes on from that candidate, on every row; its intervals are corrected by the
        candidate's errors in the backtest. What is new in the data is said in warnings.

        Raises
        ------
        StartAnewError
            The data ask for another network; nothing was kept.
        """
        inputs = {"data": data.digest, "begin": bundle_weights(bundle)}
        return self._fitted("carry", name, inputs, _Training(fits.ON, {}, data.panel, bundle))

    def final(self, candidate: Trained, data: Prepared) -> Trained:
        """The winner once more, on every row; its intervals corrected by its errors as candidate.

        This is what is registered and served. What was judged stays beside it, so that a later
        challenger and this one can be compared on rows that neither has seen.
        """
        backs = origins(self.config)
        inputs = {
            "data": data.digest,
            "settings": candidate.config.model_dump(mode="json"),
            "origins": backs,
            "candidate": bundle_weights(candidate.bundle),
        }
        parcel = {"backs": backs, "steps": candidate.steps}
        training = _Training(fits.AGAIN, parcel, data.panel, candidate.bundle)
        return self._fitted("final", candidate.name, inputs, training)

    def _fitted(
        self,
        kind: str,
        name: str,
        inputs: dict[str, Any],
        training: _Training,
        *,
        refits: bool = False,
    ) -> Trained:
        from forecasting.bundle import verify
        from forecasting.config import ForecasterConfig
        from forecasting.views.progress import about

        inputs = {**inputs, "code": code_version()}

        def build(folder: Path, unfinished: Path) -> None:
            logged: set[tuple[Any, ...]] = set()

            def on_epoch(row: dict[str, Any]) -> None:
                # A training that goes on in another worker tells its first epochs again.
                expected = row.get(fits.EXPECTED)
                key = (fits.EXPECTED,) if expected else (row["phase"], row["member"], row["step"])
                if key in logged:
                    return
                logged.add(key)
                if expected:
                    self.say(f"  {name}: training takes {about(expected)}")
                    return
                log(row)
                what = f"{name}, member {row['member'] + 1}, {row['phase']}"
                self.progress(what, row["step"] / row["of"])

            shared = [self.place.share(training.panel)]
            if training.begin is not None:
                shared.append(self.place.share(training.begin))
            facts = self.place.do(
                Task(
                    name=f"{self.config.name}: {kind} {name}",
                    work=training.work,
                    parcel=training.parcel,
                    shared=tuple(shared),
                    tell=on_epoch,
                    out=folder,
                    kept=unfinished,
                )
            )
            history = facts.pop("history")
            (folder / FACTS).write_text(json.dumps(facts))
            (folder / HISTORY).write_text(json.dumps(history))

        def made_by(*, force: bool) -> StageResult:
            return stage(self.config.name, f"{kind}-{name}", inputs, build, force=force)

        with EpochLog(self.run, self.tracker, refits=refits) as log:
            result = made_by(force=self.force)
            if result.skipped:
                try:
                    verify(result.folder / fits.BUNDLE)
                except BundleError:
                    result = made_by(force=True)
            history = json.loads((result.folder / HISTORY).read_text())
            if result.skipped:
                for row in history:
                    log(row)
        facts = json.loads((result.folder / FACTS).read_text())
        return Trained(
            name=name,
            bundle=result.folder / fits.BUNDLE,
            config=ForecasterConfig.parse(facts["settings"]),
            history=history,
            swing=facts.get("swing", {}),
            seconds=facts["seconds"],
            skipped=result.skipped,
        )


class _Training(NamedTuple):
    """What is done to train: a work of `fits`, its parcel, and what it reads.

    ``begin`` : the bundle that it begins from, if any.
    """

    work: str
    parcel: dict[str, Any]
    panel: Panel
    begin: Path | None = None


def code_version() -> str:
    """Of the installed package: part of every stage's inputs."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gatecast")
    except PackageNotFoundError:
        return "source"
