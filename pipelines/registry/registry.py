"""Model versions and their aliases: register, promote, roll back, list what happened.

The order of writing is artifacts → version → hash tag → alias, so that a reader who follows an
alias always finds a finished version, whenever the writer dies. MLflow has no compare-and-swap:
promotions of one model take turns (`pipelines.registry.turns`), and who has judged a version beside
another champion than there is when the turn comes is told so.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.errors import GatecastError
from forecasting.masking import masked
from forecasting.signing import SigningKey, configured_ring
from pipelines.machine.state import home
from pipelines.registry.files import (
    FOLDERS,
    HASH_TAG,
    JUDGED,
    JUDGED_TAG,
    MODEL,
    bundle_digest,
    fetch_bundle,
    fetch_fingerprint,
    kept,
    sign_bundle,
    sign_version,
)
from pipelines.registry.mlmodel import ARTIFACT_FOLDER, write_mlmodel
from pipelines.registry.turns import turn, who
from pipelines.tracking.store import brief

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from pipelines.tracking.run import Run

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ALIASES = (CHAMPION, CHALLENGER, PREVIOUS)
# What is noted when a version is made champion.
CROWNING = ("promoted", "forced", "rolled back")
EVENT_PREFIX = "gatecast.event."
DESCRIPTION_LENGTH = 4900  # the registry's column holds 5000
STORY = "Kept by Gatecast:"  # how a description begins that may be rewritten
REASON_SHOWN = 160  # characters of a reason on the model's page
SEASON_TAG = "season"  # steps, as the network settled on it
WATCH_TAG = "watch"  # what the last watch said of a version, for the service's metrics
NOBODY = 0  # who is champion where there is none


class MeanwhileError(GatecastError):
    """Somebody else moved the champion between a decision and its promotion."""


@dataclass(frozen=True)
class Event:
    """One line of a model's history."""

    at: str
    action: str
    version: int
    replaced: int | None
    reason: str
    by: str


class Registry:
    """The registered models of one MLflow store."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client

    def register(
        self,
        name: str,
        run: Run,
        bundle: Path,
        *,
        judged: Path | None = None,
        tags: Mapping[str, Any],
        description: str,
        example: pd.DataFrame | None = None,
        signer: SigningKey | None = None,
    ) -> int:
        """Upload a bundle to its run and make it a version with the alias ``challenger``.

        Parameters
        ----------
        bundle
            Folder of a saved forecaster; an ``MLmodel`` file is written beside it on upload.
        judged
            The bundle that was judged in its stead: the same model before it was fitted on the
            rows of the backtest. Kept beside it for later comparisons.
        tags
            Lineage kept on the version; values are turned into text.
        example
            A few rows a caller could send, logged as the input example.
        signer
            Signs the bundles as those of this version; with None nobody does.

        Returns
        -------
        int
            The new version.
        """
        digest = bundle_digest(bundle)
        self._upload(run, bundle, example)
        tags = dict(tags)
        if judged is not None:
            run.folder(judged, FOLDERS[JUDGED])
            tags[JUDGED_TAG] = bundle_digest(judged)
        if not self._exists(name):
            self._create(name)
        registered = self.client.create_model_version(
            name,
            source=f"{run.artifact_uri}/{ARTIFACT_FOLDER}",
            run_id=run.id,
            tags={key: str(value) for key, value in tags.items() if value is not None},
            description=description[:DESCRIPTION_LENGTH],
        )
        version = int(registered.version)
        if signer is not None:
            sign_bundle(self.client, registered, signer, bundle, MODEL)
            if judged is not None:
                sign_bundle(self.client, registered, signer, judged, JUDGED)
        self.client.set_model_version_tag(name, str(version), HASH_TAG, digest)
        self.client.set_registered_model_alias(name, CHALLENGER, str(version))
        self._note(name, "registered", version, None, f"run {run.name}")
        return version

    def _upload(self, run: Run, bundle: Path, example: pd.DataFrame | None) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as scratch:
            write_mlmodel(Path(scratch), bundle, run_id=run.id, example=example)
            run.folder(Path(scratch), ARTIFACT_FOLDER)
        run.folder(bundle, ARTIFACT_FOLDER)

    def _exists(self, name: str) -> bool:
        return bool(self.client.search_registered_models(f"name = '{name}'", max_results=1))

    def _create(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise GatecastError(f"cannot create the model {name!r}: {brief(error)}") from error

    def alias(self, name: str, alias: str) -> ModelVersion | None:
        """The version an alias points at; None when there is no such model or alias."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise GatecastError(f"cannot read the model {name!r}: {brief(error)}") from error

    def version(self, name: str, wanted: str | int | None) -> ModelVersion:
        """A version by number or alias; with None the champion.

        Raises
        ------
        GatecastError
            Naming the models or versions there are.
        """
        if not self._exists(name):
            names = [m.name for m in self.client.search_registered_models(max_results=50)]
            store = masked(str(self.client.tracking_uri))
            there = (
                f"there are: {', '.join(names)}"
                if names
                else f"{store} holds none: train one with `gatecast train`, or go to the folder "
                "where one was trained"
            )
            raise GatecastError(f"no registered model {name!r}; {there}")
        wanted = CHAMPION if wanted is None else str(wanted)
        version = None
        if wanted.isdigit():
            from mlflow.exceptions import MlflowException

            try:
                version = self.client.get_model_version(name, wanted)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise GatecastError(f"cannot read {name!r}: {brief(error)}") from error
        else:
            version = self.alias(name, wanted)
        if version is None:
            own = [str(v.version) for v in self.versions(name)]
            cure = ""
            if own and wanted == CHAMPION:
                cure = f"; gatecast promote {name} makes one, and {name}@{own[-1]} names one"
            raise GatecastError(
                f"model {name!r} has no version {wanted!r}; versions: {', '.join(own) or 'none'}; "
                f"aliases: {', '.join(self.aliases(name)) or 'none'}{cure}"
            )
        return version

    def versions(self, name: str) -> list[ModelVersion]:
        """Every version, oldest first."""
        versions = self.client.search_model_versions(f"name = '{name}'", max_results=1000)
        return sorted(versions, key=lambda v: int(v.version))

    def aliases(self, name: str) -> dict[str, int]:
        """Alias → version."""
        model = self.client.get_registered_model(name)
        return {alias: int(version) for alias, version in model.aliases.items()}

    def promote(
        self,
        name: str,
        version: int | str | None,
        *,
        reason: str,
        action: str,
        instead_of: int | None = None,
    ) -> Event:
        """Make a version champion; the champion until now becomes ``previous``.

        Parameters
        ----------
        version
            Number or alias; with None the challenger.
        action
            Kept in the history: ``promoted``, ``forced``.
        instead_of
            The champion that the decision was made beside, `NOBODY` where there was none; with None
            whoever is champion is replaced.

        Raises
        ------
        MeanwhileError
            Another is champion by now.
        """
        with self._turn(name):
            target = self.version(name, version if version is not None else CHALLENGER)
            self._refuse_unfinished(target)
            self._refuse_unsigned(target)
            now = self.alias(name, CHAMPION)
            number, old = int(target.version), int(now.version) if now is not None else None
            if instead_of is not None and (old or NOBODY) != instead_of:
                raise MeanwhileError(self._meanwhile(name, number, instead_of, old))
            if old is not None and old != number:
                self.client.set_registered_model_alias(name, PREVIOUS, str(old))
            self.client.set_registered_model_alias(name, CHAMPION, str(number))
            challenger = self.alias(name, CHALLENGER)
            if challenger is not None and int(challenger.version) == number:
                self.client.delete_registered_model_alias(name, CHALLENGER)
            return self._note(name, action, number, old, reason)

    def rollback(
        self, name: str, *, reason: str = "rolled back", instead_of: int | None = None
    ) -> Event:
        """Make the previous champion champion again; the one it replaces becomes ``previous``.

        Parameters
        ----------
        instead_of
            The champion that is to be taken back; with None whoever it is.

        Raises
        ------
        MeanwhileError
            Another is champion by now.
        """
        with self._turn(name):
            now = self.version(name, CHAMPION)
            if instead_of is not None and int(now.version) != instead_of:
                raise MeanwhileError(self._meanwhile(name, None, instead_of, int(now.version)))
            before = self.alias(name, PREVIOUS)
            if before is None:
                raise GatecastError(
                    f"model {name!r} has no previous champion to go back to; "
                    f"name a version: gatecast promote {name} --version N --force --reason '...'"
                )
            self._refuse_unfinished(before)
            self._refuse_unsigned(before)
            number, old = int(before.version), int(now.version)
            self.client.set_registered_model_alias(name, PREVIOUS, str(old))
            self.client.set_registered_model_alias(name, CHAMPION, str(number))
            return self._note(name, "rolled back", number, old, reason)

    def _turn(self, name: str) -> AbstractContextManager[None]:
        return turn(name, str(self.client.tracking_uri))

    def _meanwhile(self, name: str, version: int | None, believed: int, now: int | None) -> str:
        """Who came first, and what to do."""
        last = next((e for e in reversed(self.history(name)) if e.action in CROWNING), None)
        by = f" ({last.action} by {last.by} at {last.at}: {last.reason})" if last else ""
        champion = f"version {now} is champion now{by}" if now else "there is no champion any more"
        outcome = (
            "nothing was rolled back" if version is None else f"version {version} was not promoted"
        )
        beside = f"version {believed}" if believed else "there was none"
        return (
            f"the champion of {name!r} has changed meanwhile: {champion}, where it was decided "
            f"beside {beside}; {outcome}: look at `gatecast history {name}`, and give the command "
            "again if it still holds"
        )

    def watched(self, name: str, version: int, verdict: str) -> None:
        """Note what a watch said of a version; the service shows it among its metrics."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = json.dumps({"verdict": verdict, "at": now})
        self.client.set_model_version_tag(name, str(version), WATCH_TAG, record)

    def refuse(self, name: str, version: int, reason: str) -> Event:
        """Keep in the history that the gate said no."""
        return self._note(name, "refused", version, None, reason)

    def _refuse_unfinished(self, version: ModelVersion) -> None:
        if HASH_TAG not in version.tags:
            raise GatecastError(
                f"version {version.version} of {version.name!r} was never finished "
                f"(no {HASH_TAG} tag); it cannot become champion: train again"
            )

    def _refuse_unsigned(self, version: ModelVersion) -> None:
        """What no service takes that has this ring becomes no champion either."""
        if configured_ring() is not None:
            self.download(version, home() / "cache" / "bundles")

    def _note(
        self, name: str, action: str, version: int, replaced: int | None, reason: str
    ) -> Event:
        now = datetime.datetime.now(datetime.UTC)
        event = Event(
            at=now.isoformat(timespec="seconds"),
            action=action,
            version=version,
            replaced=replaced,
            reason=reason[:4000],
            by=who(),
        )
        key = f"{EVENT_PREFIX}{now:%Y%m%dT%H%M%S.%f}"
        self.client.set_registered_model_tag(name, key, json.dumps(event.__dict__))
        if action != "registered":
            self.client.set_model_version_tag(name, str(version), "decision", action)
            self.client.set_model_version_tag(name, str(version), "decision_reason", event.reason)
        self._tell(name)
        return event

    def _tell(self, name: str) -> None:
        """Let the model's page say who is champion and why; a description of one's own stays."""
        model = self.client.get_registered_model(name)
        if not model.description or model.description.startswith(STORY):
            events = self.history(name)
            self.client.update_registered_model(name, _story(self.aliases(name), events))

    def history(self, name: str) -> list[Event]:
        """Registrations, promotions, refusals and rollbacks, oldest first."""
        self._need(name)
        tags = self.client.get_registered_model(name).tags
        keys = sorted(key for key in tags if key.startswith(EVENT_PREFIX))
        return [Event(**json.loads(tags[key])) for key in keys]

    def champion_at(self, name: str, moment: datetime.datetime) -> int:
        """The version that was champion at a moment, by the model's history.

        Raises
        ------
        GatecastError
            None was, yet: the first was made champion later.
        """
        champions = [e for e in self.history(name) if e.action in CROWNING]
        before = [e for e in champions if datetime.datetime.fromisoformat(e.at) <= moment]
        if before:
            return before[-1].version
        first = (
            f"the first was made champion at {champions[0].at}"
            if champions
            else "there was never one"
        )
        raise GatecastError(
            f"no version of {name!r} was champion at {moment:%Y-%m-%d %H:%M %Z}: {first}; name the "
            f"version that is to be asked: {name}@{champions[0].version if champions else 1}"
        )

    def _need(self, name: str) -> None:
        if not self._exists(name):
            self.version(name, None)

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """The bundle of a version, checked against its hash; kept in `folder` by that hash."""
        self._refuse_unfinished(version)
        return self._fetched(version, MODEL, folder)

    def download_judged(self, version: ModelVersion, folder: Path) -> Path:
        """The bundle that was judged for a version; the version's own where none was kept."""
        if kept(version, JUDGED) is None:
            return self.download(version, folder)
        return self._fetched(version, JUDGED, folder)

    def _fetched(self, version: ModelVersion, kind: str, folder: Path) -> Path:
        one = kept(version, kind)
        assert one is not None
        return fetch_bundle(self.client, version, one, folder)

    def fingerprint(self, version: ModelVersion) -> Path | None:
        """The file that says what a version was trained on; None where it keeps none.

        Raises
        ------
        GatecastError
            It keeps one that cannot be read, or that has changed since.
        """
        return fetch_fingerprint(self.client, version)

    def sign(self, version: ModelVersion, signer: SigningKey) -> None:
        """Sign what a version holds: one from before there was a key, or whose key was revoked."""
        self._refuse_unfinished(version)
        sign_version(self.client, version, signer)


def _story(aliases: Mapping[str, int], events: list[Event]) -> str:
    """The latest events of a model in Markdown, newest first, as many as the column holds."""
    where = ", ".join(
        f"{alias} is version {aliases[alias]}" for alias in ALIASES if alias in aliases
    )
    lines = [f"{STORY} {where or 'no aliases'}.", "", "| when | what | version | reason |"]
    lines.append("|---|---|---|---|")
    room = DESCRIPTION_LENGTH - sum(len(line) + 1 for line in lines)
    for event in reversed(events):
        reason = " ".join(event.reason.split()).replace("|", "/")
        short = reason if len(reason) <= REASON_SHOWN else reason[: REASON_SHOWN - 1] + "…"
        lines.append(
            f"| {event.at[:16].replace('T', ' ')} | {event.action} | {event.version} | {short} |"
        )
        room -= len(lines[-1]) + 1
        if room < 0:
            return "\n".join(lines[:-1])
    return "\n".join(lines)
