"""The MLflow registry, read: which version an alias points at, and its files.

Reading the alias happens every few seconds in every worker, and MLflow's client costs two seconds
of start and 60 MB. So SQLite stores are read with the standard library and tracking servers over
their public REST interface; MLflow itself is loaded only for other stores, and in a process of
its own for downloads that are not plain folders.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol, TypeVar

from forecasting.errors import GatecastError
from serving.running.daemons import within
from serving.running.masking import hide

HASH_TAG = "bundle_sha256"
TIMEOUT_SECONDS = 3.0  # for a part of an answer
ANSWER_SECONDS = 10.0  # for a whole one
CLIENT_SECONDS = 20.0  # for MLflow's own client, which is loaded first
MAX_ANSWER = 16 << 20  # bytes
DOWNLOAD_SECONDS = 600.0

T = TypeVar("T")


class UnknownModelError(GatecastError):
    """No such registered model, or no version behind the alias."""


class RegistryError(GatecastError):
    """The registry cannot be reached or read."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model, as the registry describes it."""

    name: str
    number: int
    run_id: str | None
    source: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str | None:
        """SHA-256 of the bundle's manifest; a version without one was never finished."""
        return self.tags.get(HASH_TAG)


class Registry(Protocol):
    """What the service needs of a registry."""

    def resolve(self, name: str, alias: str) -> Version:
        """The version behind an alias; `UnknownModelError` or `RegistryError`."""
        ...

    def names(self) -> list[str]:
        """Registered models, for a helpful message."""
        ...


def open_registry(uri: str) -> Registry:
    """A reader for an MLflow store by its URI."""
    if uri.startswith("sqlite:///"):
        return SqliteRegistry(Path(uri.removeprefix("sqlite:///").split("?")[0]))
    if uri.startswith(("http://", "https://")):
        return RestRegistry(uri.rstrip("/"))
    return ClientRegistry(uri)


class SqliteRegistry:
    """A local store, opened read-only: never created, never migrated."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resolve(self, name: str, alias: str) -> Version:
        """The version behind an alias; `UnknownModelError` or `RegistryError`."""
        rows = self._rows(
            "SELECT v.version, v.run_id, v.source, v.storage_location "
            "FROM registered_model_aliases a JOIN model_versions v "
            "ON v.name = a.name AND v.version = a.version WHERE a.name = ? AND a.alias = ?",
            (name, alias),
        )
        if not rows:
            raise unknown(name, alias, self.names())
        number, run_id, source, location = rows[0]
        tags = self._rows(
            "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?",
            (name, number),
        )
        return Version(name, int(number), run_id or None, location or source, dict(tags))

    def names(self) -> list[str]:
        """Names of all registered models."""
        return [row[0] for row in self._rows("SELECT name FROM registered_models", ())]

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        if not self.path.is_file():
            raise RegistryError(
                f"there is no model registry at {self.path}; train a model with `gatecast train`, "
                "or name the store in MLFLOW_TRACKING_URI"
            )
        uri = f"file:{urllib.parse.quote(str(self.path))}?mode=ro"
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=TIMEOUT_SECONDS)
            try:
                return connection.execute(query, values).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise RegistryError(f"cannot read the model registry {self.path}: {error}") from None


class RestRegistry:
    """An MLflow tracking server."""

    def __init__(self, uri: str) -> None:
        self.uri, self.headers = _without_credentials(uri)

    def resolve(self, name: str, alias: str) -> Version:
        """The version behind an alias; `UnknownModelError` or `RegistryError`."""
        query = urllib.parse.urlencode({"name": name, "alias": alias})
        try:
            answer = self._get(f"registered-models/alias?{query}")
        except _MissingError:
            raise unknown(name, alias, self.names()) from None
        try:
            return self._version(name, answer["model_version"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise RegistryError(
                f"the tracking server {self.uri} answered something else than a model version"
            ) from None

    def _version(self, name: str, content: dict[str, Any]) -> Version:
        number, source = int(content["version"]), str(content["source"])
        tags = {str(tag["key"]): str(tag.get("value", "")) for tag in content.get("tags", [])}
        if source.startswith("models:/"):
            query = urllib.parse.urlencode({"name": name, "version": number})
            source = str(self._get(f"model-versions/get-download-uri?{query}")["artifact_uri"])
        return Version(name, number, content.get("run_id") or None, source, tags)

    def names(self) -> list[str]:
        """Names of registered models, at most 50."""
        answer = self._get("registered-models/search?max_results=50")
        try:
            return [str(model["name"]) for model in answer.get("registered_models", [])]
        except (KeyError, TypeError):
            raise RegistryError(
                f"the tracking server {self.uri} answered something else than a list of models"
            ) from None

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{path}", headers={**_credentials(), **self.headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                content = json.loads(_read(answer))
        except urllib.error.HTTPError as error:
            text = error.read(4096).decode(errors="replace")
            if "RESOURCE_DOES_NOT_EXIST" in text or "INVALID_PARAMETER_VALUE" in text:
                raise _MissingError from None
            raise RegistryError(
                f"the tracking server {self.uri} answered {error.code}: {text[:200]}"
            ) from None
        except (OSError, ValueError, HTTPException, RecursionError) as error:
            raise RegistryError(f"cannot reach the tracking server {self.uri}: {error}") from None
        if not isinstance(content, dict):
            raise RegistryError(f"the tracking server {self.uri} answered no JSON object")
        return content


class ClientRegistry:
    """Any other store, such as PostgreSQL, through MLflow's own client."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def resolve(self, name: str, alias: str) -> Version:
        """The version behind an alias; `UnknownModelError` or `RegistryError`."""
        return self._asked(lambda: self._resolve(name, alias))

    def _resolve(self, name: str, alias: str) -> Version:
        from mlflow.exceptions import MlflowException

        try:
            client = self._client()
            version = client.get_model_version_by_alias(name, alias)
            location = client.get_model_version_download_uri(name, version.version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise unknown(name, alias, self._names()) from None
            raise
        return Version(name, int(version.version), version.run_id, location, dict(version.tags))

    def names(self) -> list[str]:
        """Names of registered models, at most 50."""
        return self._asked(self._names)

    def _names(self) -> list[str]:
        return [model.name for model in self._client().search_registered_models(max_results=50)]

    def _asked(self, work: Callable[[], T]) -> T:
        """MLflow tries a database that is away for minutes; nobody here waits so long."""
        try:
            return within(CLIENT_SECONDS, work, "registry")
        except GatecastError:
            raise
        except TimeoutError:
            raise RegistryError(
                f"the model registry did not answer within {CLIENT_SECONDS:g} seconds"
            ) from None
        except Exception as error:
            # Drivers have errors of their own, and name the address in them.
            raise RegistryError(f"cannot read the model registry: {_line(error)}") from None

    def _client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


class _MissingError(Exception):
    pass


def unknown(name: str, alias: str, names: list[str]) -> UnknownModelError:
    """The error that says what there is instead."""
    if name in names:
        return UnknownModelError(
            f"model {name!r} has no version with the alias {alias!r}; "
            f"promote one with `gatecast promote {name}`"
        )
    there = f"there are: {', '.join(sorted(names))}" if names else "train one with `gatecast train`"
    return UnknownModelError(f"no registered model {name!r}; {there}")


def fetch(version: Version, folder: Path, tracking_uri: str) -> None:
    """Copy a version's files into an empty folder."""
    source = urllib.parse.urlparse(version.source)
    if source.scheme in ("", "file"):
        path = Path(urllib.request.url2pathname(source.path))
        if not path.is_dir():
            raise RegistryError(
                f"version {version.number} of {version.name!r} has lost its files: {path} is gone"
            )
        shutil.copytree(path, folder, dirs_exist_ok=True, copy_function=_copy_file)
        return
    command = [sys.executable, "-m", "serving.models.download", version.source, str(folder)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri}
    try:
        run = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RegistryError(
            f"fetching {hide(version.source)} took over {DOWNLOAD_SECONDS:.0f} s"
        ) from None
    if run.returncode != 0:
        last = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RegistryError(f"cannot fetch {hide(version.source)}: {hide(last[:300])}")


def _copy_file(source: str, target: str) -> None:
    """Copy what is a file: a link may lead anywhere, and a device has no end."""
    if not stat.S_ISREG(os.lstat(source).st_mode):
        raise RegistryError(f"{source} is no plain file; roll back, or train again")
    shutil.copyfile(source, target)


def _credentials() -> dict[str, str]:
    """As MLflow's clients send them."""
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if token:
        return {"Authorization": f"Bearer {token}"}
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    if user:
        secret = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}
    return {}


def _read(answer: Any) -> bytes:
    """All of an answer, within a bound of bytes and of time."""
    parts, size, end = [], 0, time.monotonic() + ANSWER_SECONDS
    while part := answer.read1(1 << 16):
        size += len(part)
        parts.append(part)
        if size > MAX_ANSWER or time.monotonic() > end:
            raise ValueError(f"its answer is longer than {MAX_ANSWER} bytes, or takes too long")
    # A connection that ends early does not say so by itself.
    length = answer.headers.get("content-length", "")
    if length.isdigit() and int(length) != size:
        raise ValueError(f"its answer was cut off after {size} of {length} bytes")
    return b"".join(parts)


def _without_credentials(uri: str) -> tuple[str, dict[str, str]]:
    """An address, and the header that says what stood before its host."""
    parts = urllib.parse.urlsplit(uri)
    if "@" not in parts.netloc:
        return uri, {}
    user, _, host = parts.netloc.rpartition("@")
    text = urllib.parse.unquote(user)
    header = "Basic " + base64.b64encode(text.encode()).decode()
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), {"Authorization": header}


def _line(error: Exception) -> str:
    return hide((str(error).strip().splitlines() or [type(error).__name__])[0][:300])
