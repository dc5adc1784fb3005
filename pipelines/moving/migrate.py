"""`Move`: an embedded set-up into another one, whole and verified, or said what is lacking.

Everything is looked for in the target before it is written there, so that a move that was cut off
goes on, and one that is given again brings what is new. Nothing of the source is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forecasting.errors import ConfigError
from forecasting.signing import SigningKey
from pipelines.machine.say import Progress, Say, no_progress, silent
from pipelines.machine.state import locked
from pipelines.moving.kept import (
    copy_files,
    copy_rows,
    files_in,
    is_row_file,
    unlike_files,
    unlike_rows,
)
from pipelines.moving.models import copy_models, models_of, refuse_others, signed, versions_of
from pipelines.moving.places import Place
from pipelines.moving.runs import RUNNING, Moved, copy_runs, counterparts, gathered, refuse_running
from pipelines.moving.verify import UnlikeError, unlike_models, unlike_runs
from pipelines.scheduling.carried import Clock, carry, held_by, unlike_schedules

SHOWN = 5  # differences that an error names


@dataclass(frozen=True)
class Options:
    """What a move asks beside its two ends.

    Attributes
    ----------
    replaced
        Models of the target that ours may take the place of.
    signer
        Signs anew what is signed here: signatures name runs, and those get new ids.
    unsigned
        Leave signatures behind instead.
    forecasts, table
        A database for kept forecasts; None: the target's state folder.
    clock
        Where schedules go; None: the target's own, if it has a state folder.
    """

    replaced: tuple[str, ...] = ()
    signer: SigningKey | None = None
    unsigned: bool = False
    forecasts: str | None = None
    table: str = "forecasts"
    clock: Clock | None = None


@dataclass(frozen=True)
class Counts:
    """How much of each there is."""

    experiments: int = 0
    runs: int = 0
    models: int = 0
    versions: int = 0
    forecasts: int = 0
    schedules: int = 0


@dataclass(frozen=True)
class Migration:
    """What came of a move.

    Attributes
    ----------
    held
        What the source holds: files of forecasts, too.
    new
        What of it the target lacked.
    deleted
        Models of the target that ours took the place of.
    left
        What was not moved, and why, in words.
    """

    held: Counts
    new: Counts
    deleted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Move:
    """A move from one place to another: looked at when it is made, before anything is written.

    Raises
    ------
    GatecastError : it cannot be done, and why.
    """

    def __init__(self, source: Place, target: Place, options: Options) -> None:
        if source.uri == target.uri:
            raise ConfigError(f"{source.name} cannot be moved to itself")
        self.source, self.target, self.options = source, target, options
        client = source.opened()
        self.versions = [
            v for name in models_of(client) for v in versions_of(client, name).values()
        ]
        self.moved = gathered(client, [str(v.run_id) for v in self.versions if v.run_id])
        refuse_running(self.moved)
        self.deleted = refuse_others(source, target, options.replaced)
        self._refuse_unsigned()
        held = held_by(source.state) if source.state is not None else []
        self.stands, self.schedules = held is None, held or []
        own = Clock(state=target.state) if target.state is not None else None
        self.clock = options.clock or own

    def dry(self) -> Migration:
        """What `carry` would write."""
        new = Counts(
            experiments=sum(self._experiment_of(one) is None for one in self.moved),
            runs=sum(self._lacking_runs(one) for one in self.moved),
            models=len(set(self._models()) - set(self._theirs())),
            versions=self._lacking_versions(),
            forecasts=len(self._lacking_files()),
            schedules=len(self.schedules) if self.clock is not None else 0,
        )
        return Migration(self.held(), new, tuple(self.deleted), self._left())

    def carry(self, say: Say = silent, progress: Progress = no_progress) -> Migration:
        """Write what the target lacks, and verify all of it.

        Raises
        ------
        UnlikeError : the target does not hold what the source holds.
        """
        source, target, options = self.source, self.target, self.options
        with locked("migrate", wait=1.0):
            plan = self.dry()
            renamed, runs = copy_runs(source, target, self.moved, say, progress)
            versions = copy_models(
                source, target, renamed, deleted=self.deleted, signer=options.signer, say=say
            )
            unlike = [
                *unlike_runs(source, target, self.moved, renamed, progress),
                *unlike_models(source, target, renamed),
            ]
            files = 0
            if source.state is not None and options.forecasts is not None:
                files = copy_rows(source.state, options.forecasts, options.table, renamed)
                unlike += unlike_rows(source.state, options.forecasts, options.table, renamed)
            elif source.state is not None and target.state is not None:
                files = copy_files(source.state, target.state, renamed)
                unlike += unlike_files(source.state, target.state, renamed)
            schedules: list[str] = []
            if self.schedules and self.clock is not None:
                schedules = carry(self.schedules, self.clock)
                unlike += unlike_schedules(self.schedules, self.clock)
        if unlike:
            more = f"; and {len(unlike) - SHOWN} more" if len(unlike) > SHOWN else ""
            raise UnlikeError(
                f"{target.name} does not hold what {source.name} holds: "
                f"{'; '.join(unlike[:SHOWN])}{more}; give the command again, and where it says "
                "so still, leave the target unused"
            )
        new = Counts(plan.new.experiments, runs, plan.new.models, versions, files, len(schedules))
        return Migration(plan.held, new, plan.deleted, plan.left)

    def held(self) -> Counts:
        """What there is to move."""
        return Counts(
            experiments=len(self.moved),
            runs=sum(len(one.runs) for one in self.moved),
            models=len(self._models()),
            versions=len(self.versions),
            forecasts=len(files_in(self.source.state)),
            schedules=len(self.schedules),
        )

    def _refuse_unsigned(self) -> None:
        if self.options.signer is not None or self.options.unsigned:
            return
        for name in signed(self.source.opened(), self.versions):
            raise ConfigError(
                f"{name} is signed, and a signature names the run, which gets a new id: name the "
                "key that signs again with --key FILE, or leave signatures behind with --unsigned"
            )

    def _left(self) -> tuple[str, ...]:
        lines = []
        carried = self.options.forecasts is not None or self.target.state is not None
        if files_in(self.source.state) and not carried:
            lines.append(
                "kept forecasts stay here: name a database with --forecasts, or the state "
                "folder of the machine that will forecast with --state"
            )
        if self.stands:
            lines.append(
                "schedules stay here: the scheduler is stopped; start it with "
                "`gatecast schedule serve`, and give the command again"
            )
        if self.schedules and self.clock is None:
            lines.append("schedules stay here: name Prefect's API with --prefect, and --pool")
        return tuple(lines)

    def _models(self) -> Sequence[str]:
        return list(models_of(self.source.opened()))

    def _theirs(self) -> Sequence[str]:
        theirs = [] if self.target.client is None else list(models_of(self.target.client))
        return [name for name in theirs if name not in self.deleted]

    def _experiment_of(self, one: Moved) -> str | None:
        if self.target.client is None:
            return None
        experiment = self.target.client.get_experiment_by_name(one.experiment.name)
        return None if experiment is None else str(experiment.experiment_id)

    def _lacking_runs(self, one: Moved) -> int:
        experiment = self._experiment_of(one)
        if experiment is None:
            return len(one.runs)
        copies = counterparts(self.target.opened(), experiment)
        whole = {old for old, run in copies.items() if run.info.status != RUNNING}
        return sum(run.info.run_id not in whole for run in one.runs)

    def _lacking_versions(self) -> int:
        there = {
            (name, number)
            for name in self._theirs()
            for number in versions_of(self.target.opened(), name)
        }
        return sum((v.name, int(v.version)) not in there for v in self.versions)

    def _lacking_files(self) -> Sequence[object]:
        files = files_in(self.source.state)
        if self.options.forecasts is not None:
            return [file for file in files if is_row_file(file)]
        if self.target.state is None:
            return []
        return [file for file in files if not (self.target.state / file).exists()]
