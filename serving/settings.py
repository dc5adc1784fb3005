"""Settings of the service. Workers read them from the environment, `python -m serving` writes them.

Every field is the variable ``GATECAST_<FIELD>`` in capitals: ``GATECAST_POLL_SECONDS=2``.
"""

from __future__ import annotations

import ipaddress
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from forecasting.errors import ConfigError
from serving.keys import Keys

PREFIX = "GATECAST_"
MIB = 1 << 20
MOST_PORT = 65_535
KEY_FILE = "api-keys.json"
CHALLENGER = "challenger"

# Set by the product, not by the user; whatever the user did set stays.
QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def _names(value: object) -> object:
    return (
        tuple(n.strip() for n in value.split(",") if n.strip()) if isinstance(value, str) else value
    )


def _nothing(value: object) -> object:
    """An empty text is none: an empty key would be one that every caller has."""
    return None if isinstance(value, str) and not value.strip() else value


Key = Annotated[SecretStr | None, BeforeValidator(_nothing)]
Alias = Annotated[str | None, BeforeValidator(_nothing)]
Place = Annotated[Path | None, BeforeValidator(_nothing)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class ServingSettings(BaseModel):
    """What the service serves, how it listens, and where it says stop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Names = Field(default=(), description="registered models; the first is the default")
    alias: str = Field("champion", min_length=1, description="the alias that is followed")
    home: Path = Field(Path(".gatecast"), description="folder of local state")
    tracking_uri: str | None = Field(None, description="MLflow store; default: SQLite in home")
    key_ring: Place = Field(None, description="folder of the keys whose models are served")
    poll_seconds: float = Field(5.0, gt=0, le=86_400, description="between looks at the alias")
    hook_secret: Key = Field(None, description="what MLflow's webhook signs with")
    peers: Names = Field(
        default=(), description="host:port of replicas that a webhook is passed to"
    )

    shadow: Alias = Field(
        None, description="alias whose version is computed beside the answers, and kept with them"
    )
    shadow_share: float = Field(
        0.1, gt=0, le=1, description="of the requests, those that the shadow computes, too"
    )
    shadow_budget: float = Field(
        0.02, gt=0, le=1, description="of a core's time, what a worker's shadow may take"
    )
    shadow_bytes: int = Field(
        256 * MIB, ge=MIB, description="kept of compared forecasts, of each model; the oldest go"
    )
    canary: float = Field(
        0.0, ge=0, le=1, description="of the series, those that the challenger answers"
    )

    host: str = "127.0.0.1"
    port: int = Field(3000, ge=0, le=MOST_PORT, description="0 takes a free one")
    hosts: Names = Field(default=(), description="names it is called by, beside its addresses")
    workers: int = Field(1, ge=1, le=256)
    threads: int = Field(0, ge=0, le=256, description="per worker in ONNX Runtime; 0: by cores")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the network runs")
    batching: bool = Field(True, description="compute requests that arrive together together")

    api_key: Key = Field(None, description="a key that may do everything; an empty one is none")
    api_keys: Place = Field(None, description="file of named keys; default: api-keys.json in home")
    open: bool = Field(False, description="everybody may forecast, from other machines, too")
    protect: bool | None = Field(
        None, description="forecasts and models need a key; default: where others can reach it"
    )
    public_metrics: bool = Field(True, description="/metrics without a key")
    public_docs: bool = Field(True, description="/docs and /openapi.json without a key")
    explorer: bool = Field(True, description="the page at / that draws forecasts")
    mcp: bool | None = Field(
        None, description="tools for language models at /mcp; default: where mcp is installed"
    )

    max_body: int = Field(32 * MIB, ge=1024, description="bytes of a body as sent")
    max_content: int = Field(128 * MIB, ge=1024, description="bytes of a body once decompressed")
    max_held: int = Field(256 * MIB, ge=1024, description="bytes of all bodies under way")
    max_series: int = Field(100_000, ge=1, description="in one request")
    max_output: int = Field(20_000_000, ge=1, description="numbers in one answer")
    max_horizon: int = Field(5_000, ge=1, description="steps, with extend")
    max_windows: int = Field(
        200_000, ge=1, description="runs of the network: series x horizon / trained horizon"
    )
    max_draws: int = Field(
        50_000_000, ge=1, description="numbers of sample paths: series x steps x paths x passes"
    )
    series_bytes: int = Field(
        256 * MIB, ge=MIB, description="kept of series; those used longest ago make room"
    )
    series_rows: int = Field(
        10_000, ge=1, description="kept of each series; what a forecast looks at in any case"
    )
    series_sync: bool = Field(
        False, description="an append waits for the disk: nothing is lost where the machine fails"
    )
    max_waiting: int = Field(1_000, ge=1, description="requests under way in a worker, then 503")
    max_connections: int = Field(2_000, ge=1, description="held by a worker, then 503")
    head_seconds: float = Field(10.0, gt=0, description="for the headers to arrive")
    body_seconds: float = Field(30.0, gt=0, description="for a body to arrive")

    load_seconds: float = Field(60.0, gt=0, description="for a version to answer its golden input")

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: bool = Field(False, description="a line per request; errors always have one")
    traces: Literal["none", "console", "otlp"] = Field("none", description="OpenTelemetry exporter")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.api_key is not None and not self.api_key.get_secret_value().strip():
            raise ValueError("api_key is empty: set GATECAST_API_KEY")
        self.keys().check()
        if not is_loopback(self.host) and not self.open:
            if self.protect is False:
                raise ValueError(
                    f"host {self.host} can be reached from other machines, and protect is false: "
                    "set GATECAST_OPEN=true as well to let everybody forecast"
                )
            if not self.keys().any:
                raise ValueError(
                    f"host {self.host} can be reached from other machines, and there is no key: "
                    "set GATECAST_API_KEY, make one with `gatecast keys api new`, or set "
                    "GATECAST_OPEN=true to let everybody in"
                )
        for peer in self.peers:
            host, _, port = peer.rpartition(":")
            valid = port.isdecimal() and port.isascii() and 0 < int(port) <= MOST_PORT
            if not host or not valid:
                raise ValueError(f"peers: {peer!r} is not host:port")
        for name, closed in (
            ("protect", self.protect),
            ("public_metrics=false", not self.public_metrics),
            ("public_docs=false", not self.public_docs),
        ):
            if closed and not self.keys().any:
                raise ValueError(
                    f"{name} needs a key, not an empty one: set GATECAST_API_KEY, or make one "
                    "with `gatecast keys api new`"
                )
        if self.compares and self.challenger == self.alias:
            raise ValueError(
                f"the alias {self.alias!r} is followed already: name another in GATECAST_SHADOW, "
                "or leave out GATECAST_SHADOW and GATECAST_CANARY"
            )
        if len(set(self.models)) != len(self.models):
            raise ValueError("models names the same model twice")
        return self

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, **given: object) -> Self:
        """From the environment; ``given`` values win. `ConfigError` names the variable.

        ``MLFLOW_TRACKING_URI`` and ``GATECAST_HOME`` are honoured as elsewhere in Gatecast.
        """
        values: dict[str, object] = {
            name: environment[PREFIX + name.upper()]
            for name in cls.model_fields
            if PREFIX + name.upper() in environment
        }
        if "tracking_uri" not in values and environment.get("MLFLOW_TRACKING_URI"):
            values["tracking_uri"] = environment["MLFLOW_TRACKING_URI"]
        if environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            values.setdefault("traces", "otlp")
        values.update({key: value for key, value in given.items() if value is not None})
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error)) from None

    def variables(self) -> dict[str, str]:
        """The environment from which a worker reads the same settings."""
        environment = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None or value == type(self).model_fields[name].default:
                continue
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, tuple):
                value = ",".join(value)
            elif isinstance(value, Path):
                value = value.absolute()
            environment[PREFIX + name.upper()] = str(value)
        return environment

    @property
    def store(self) -> str:
        """URI of the MLflow store."""
        uri = self.tracking_uri or f"sqlite:///{(self.home / 'mlflow.db').absolute()}"
        # Where a URL names no driver, the one that Gatecast installs.
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", uri)

    @property
    def challenger(self) -> str:
        """The alias of the version beside the one that answers."""
        return self.shadow or CHALLENGER

    @property
    def compares(self) -> bool:
        """Whether a second version is held beside the one that answers."""
        return self.shadow is not None or self.canary > 0

    @property
    def protected(self) -> bool:
        """Whether forecasts need a key, whoever asks."""
        if self.protect is None:
            return not is_loopback(self.host) and not self.open
        return self.protect

    def keys(self) -> Keys:
        """The keys that callers may have."""
        own = self.api_key.get_secret_value() if self.api_key is not None else None
        return Keys(self.api_keys or self.home.absolute() / KEY_FILE, own)

    @property
    def cache(self) -> Path:
        """Folder of the models fetched so far."""
        return self.home.absolute() / "cache" / "models"

    @property
    def states(self) -> Path:
        """Folder of the series that are kept."""
        return self.home.absolute() / "series"

    @property
    def compared(self) -> Path:
        """Folder of what champion and challenger said of the same series."""
        return self.home.absolute() / "compared"

    @property
    def engine_threads(self) -> int:
        """Threads of ONNX Runtime in each worker: the cores, shared between the workers."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.workers)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_address(name: str) -> bool:
    """Whether a name is an address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def quiet() -> None:
    """Telemetry off, waits for a dead server short, one thread per library."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # What is unfamiliar about covariates stands in the answers, as notes.
    warnings.filterwarnings("ignore", message="covariate '", category=UserWarning)


def _explain(error: ValidationError) -> str:
    parts = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"][:1])
        message = fault["msg"].removeprefix("Value error, ")
        text = "***" if name in ("api_key", "hook_secret", "tracking_uri") else repr(fault["input"])
        parts.append(f"{PREFIX}{name.upper()} = {text}: {message}" if name else message)
    return "; ".join(parts)
