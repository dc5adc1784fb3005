"""Registered models: the same version numbers, tags, aliases and history in another registry."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from forecasting.errors import ConfigError, GatecastError
from forecasting.signing import SIGNATURE, SigningKey
from pipelines.machine.say import Say
from pipelines.moving.places import Place, paged
from pipelines.moving.renamed import MOVED_FROM, Renamed
from pipelines.registry.files import FOLDERS, HASH_TAG, sign_version
from pipelines.registry.mlmodel import ARTIFACT_FOLDER
from pipelines.registry.registry import CHAMPION, EVENT_PREFIX
from pipelines.registry.turns import turn

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.tracking import MlflowClient

PAGE = 200
DIFFERENT = (
    "is another set-up's: nothing was moved. Move under other names, or let ours take its place "
    "with --replace"
)


def models_of(client: MlflowClient) -> dict[str, RegisteredModel]:
    """Every registered model, by its name."""
    models = paged(
        lambda token: client.search_registered_models(max_results=PAGE, page_token=token)
    )
    return {model.name: model for model in models}


def versions_of(client: MlflowClient, name: str) -> dict[int, ModelVersion]:
    """Every version of a model, by its number, oldest first."""
    versions = paged(
        lambda token: client.search_model_versions(f"name = '{name}'", PAGE, page_token=token)
    )
    return {int(one.version): one for one in sorted(versions, key=lambda v: int(v.version))}


def identity(model: RegisteredModel) -> str:
    """What tells a set-up's model from one of the same name elsewhere: when it was made."""
    return str(model.creation_timestamp)


def refuse_others(source: Place, target: Place, replaced: Collection[str]) -> list[str]:
    """Refuse a target that holds models by our names which are not ours, or have lived on there.

    Parameters
    ----------
    replaced : names whose models there may be deleted.

    Returns
    -------
    list of str
        Models of the target that would be deleted.

    Raises
    ------
    ConfigError : naming the models, and what to do.
    """
    ours = models_of(source.opened())
    if unknown := sorted(set(replaced) - set(ours)):
        raise ConfigError(f"--replace {unknown[0]!r}: there is no such model to move")
    theirs = models_of(target.client) if target.client is not None else {}
    deleted = []
    for name in sorted(set(ours) & set(theirs)):
        mine, other = ours[name], theirs[name]
        why = ""
        if other.tags.get(MOVED_FROM) != identity(mine):
            why = DIFFERENT
        elif lived := _lived_on(source, target, mine, other):
            why = f"came from here and has {lived} since: what it has become there would be lost"
        if why and name not in replaced:
            raise ConfigError(
                f"{target.name}: the model {name!r} there {why}"
                + (f" {name}" if why is DIFFERENT else f"; or --replace {name}")
            )
        if why:
            deleted.append(name)
    return deleted


def signed(client: MlflowClient, versions: Sequence[ModelVersion]) -> list[str]:
    """``NAME@VERSION`` of those that have a signature."""
    return [
        f"{one.name}@{one.version}"
        for one in versions
        if one.run_id and _is_signed(client, str(one.run_id), ARTIFACT_FOLDER)
    ]


def copy_models(
    source: Place,
    target: Place,
    renamed: Renamed,
    *,
    deleted: Collection[str],
    signer: SigningKey | None,
    say: Say,
) -> int:
    """Copy all registered models; how many versions were written now.

    The order is version, hash, signature, history, aliases: who follows an alias finds all behind.
    """
    client, onto = source.opened(), target.opened()
    written = 0
    for name, model in models_of(client).items():
        with turn(name, target.uri):
            if name in deleted:
                onto.delete_registered_model(name)
            if name not in models_of(onto):
                onto.create_registered_model(name, tags={MOVED_FROM: identity(model)})
            versions = versions_of(client, name)
            written += _copy_versions(client, onto, name, versions, renamed)
            if signer is not None:
                _sign(onto, versions_of(onto, name), versions, client, signer)
            _tell(onto, model, renamed)
            _point(onto, model)
        say(f"{name}: {len(versions):,} versions, {_aliases(model)}")
    return written


def _lived_on(source: Place, target: Place, mine: RegisteredModel, other: RegisteredModel) -> str:
    """What happened to a model after it was moved; nothing where all of it is the source's."""
    events = {key for key in other.tags if key.startswith(EVENT_PREFIX)}
    if events - set(mine.tags):
        return "been trained or promoted there"
    there, here = versions_of(target.opened(), other.name), versions_of(source.opened(), mine.name)
    own = [n for n, one in there.items() if n not in here and MOVED_FROM not in one.tags]
    return f"got version {own[0]} there" if own else ""


def _copy_versions(
    source: MlflowClient,
    target: MlflowClient,
    name: str,
    versions: dict[int, ModelVersion],
    renamed: Renamed,
) -> int:
    there = versions_of(target, name)
    for number in set(there) - set(versions):
        # It stood for a number that the source had given and taken back.
        target.delete_model_version(name, str(number))
    written = 0
    for number, version in versions.items():
        tags = renamed.tags(version.tags)
        digest = tags.pop(HASH_TAG, None)
        if number not in there:
            _create(target, name, version, tags, renamed)
            written += 1
            old: dict[str, str] = dict(tags)
        else:
            old = there[number].tags
        for key, text in tags.items():
            if old.get(key) != text:
                target.set_model_version_tag(name, str(number), key, text)
        if digest is not None and old.get(HASH_TAG) != digest:
            target.set_model_version_tag(name, str(number), HASH_TAG, digest)
    return written


def _create(
    target: MlflowClient, name: str, version: ModelVersion, tags: dict[str, str], renamed: Renamed
) -> None:
    """A version of the same number: numbers that the source has deleted are passed over."""
    run_id = renamed.ids.get(str(version.run_id))
    where = str(version.source)
    if run_id is not None:
        where = f"{target.get_run(run_id).info.artifact_uri}/{ARTIFACT_FOLDER}"
    number, passed = int(version.version), 0
    while passed < number:
        created = target.create_model_version(
            name,
            source=where,
            run_id=run_id,
            tags=tags | {MOVED_FROM: str(number)},
            description=renamed.text(version.description or ""),
        )
        last, passed = passed, int(created.version)
        if last:
            # Not before there is a higher one, lest the number is given again.
            target.delete_model_version(name, str(last))
    if passed > number:
        target.delete_model_version(name, str(passed))
        raise GatecastError(
            f"version {number} of {name!r} cannot have its number: the target had one that "
            f"was deleted; take the whole model anew with --replace {name}"
        )


def _sign(
    target: MlflowClient,
    made: dict[int, ModelVersion],
    versions: dict[int, ModelVersion],
    source: MlflowClient,
    signer: SigningKey,
) -> None:
    """Sign what was signed: a signature names its run, and that is another one now."""
    for number, version in versions.items():
        if not signed(source, [version]):
            continue
        run_id = str(made[number].run_id)
        kinds = [f for f in FOLDERS.values() if target.list_artifacts(run_id, f)]
        if not all(_is_signed(target, run_id, folder) for folder in kinds):
            sign_version(target, made[number], signer)


def _is_signed(client: MlflowClient, run_id: str, folder: str) -> bool:
    return any(one.path.endswith(f"/{SIGNATURE}") for one in client.list_artifacts(run_id, folder))


def _tell(target: MlflowClient, model: RegisteredModel, renamed: Renamed) -> None:
    there = target.get_registered_model(model.name)
    for key, text in renamed.tags(model.tags).items():
        if there.tags.get(key) != text:
            target.set_registered_model_tag(model.name, key, text)
    description = renamed.text(model.description or "")
    if (there.description or "") != description:
        target.update_registered_model(model.name, description)


def _point(target: MlflowClient, model: RegisteredModel) -> None:
    """Aliases, that of the champion last."""
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    there: dict[str, Any] = dict(target.get_registered_model(model.name).aliases)
    for alias in sorted(aliases, key=lambda one: one == CHAMPION):
        if str(there.get(alias)) != aliases[alias]:
            target.set_registered_model_alias(model.name, alias, aliases[alias])
    for alias in set(there) - set(aliases):
        target.delete_registered_model_alias(model.name, alias)


def _aliases(model: RegisteredModel) -> str:
    named = ", ".join(f"{alias} {version}" for alias, version in sorted(model.aliases.items()))
    return named or "no champion"
