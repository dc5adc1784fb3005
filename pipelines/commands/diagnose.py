"""``gatecast diagnose``: does the signal reach the past, and what do the gates hold?"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from forecasting.errors import ConfigError, DataError
from pipelines.commands.common import existing
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import waiting

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.explain.diagnosis import Diagnosis
    from pipelines.registry.registry import Registry

RUN_ID = re.compile(r"[0-9a-f]{32}")


def register(app: typer.Typer) -> None:
    """Add ``diagnose``."""
    app.command("diagnose")(diagnose_command)


def diagnose_command(
    what: str = typer.Argument(
        ...,
        metavar="RUN|BUNDLE|NAME",
        help="An MLflow run id, a saved forecaster's folder, or a registered model (NAME@VERSION).",
    ),
    out: Path = typer.Option(Path("diagnosis.png"), "--out", help="The picture: a .png file."),
    data: Path | None = typer.Option(
        None,
        "--data",
        help="A .csv or .parquet table (unique_id, ds, y, covariates) to read; default: made-up "
        "seasonal series.",
    ),
    member: int = typer.Option(0, "--member", help="Which of the forecaster's networks."),
) -> None:
    """Draw gradient by time step beside a vanilla RNN's, gate saturation and memory of a model.

    Examples: `gatecast diagnose demand/ --out demand.png`,
    `gatecast diagnose m3-monthly@2 --data sales.csv`
    """
    from forecasting.explain.diagnose import diagnose_bundle

    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: a picture is written as .png")
    with tempfile.TemporaryDirectory() as scratch:
        bundle = find_bundle(what, Path(scratch))
        table = None if data is None else read_table(data)
        with waiting(f"reading with {what}"):
            diagnosis = diagnose_bundle(bundle, table, out, member=member)
    texts = lines(diagnosis)
    for line in texts:
        print(line)
    if data is None:
        tell("read made-up seasonal series; give --data to see the network on yours")
    done({"said": texts, **diagnosis.summary()}, made=[out])


def find_bundle(what: str, scratch: Path) -> Path:
    """The bundle a person means; what lies in a store is copied into ``scratch``.

    Raises
    ------
    ConfigError : no such run or version, or a run that keeps no forecaster.
    """
    if Path(what).is_dir():
        return Path(what)
    if Path(what).exists() or "/" in what:
        raise ConfigError(f"{what} is no folder of a saved forecaster")
    from pipelines.registry.registry import Registry
    from pipelines.tracking.store import connect

    registry = Registry(connect())
    if RUN_ID.fullmatch(what):
        return _of_run(registry, what, scratch)
    name, _, version = what.partition("@")
    return registry.download(registry.version(name, version or None), scratch)


def _of_run(registry: Registry, run_id: str, scratch: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from pipelines.registry.mlmodel import ARTIFACT_FOLDER

    try:
        run = registry.client.get_run(run_id)
        if registry.client.list_artifacts(run_id, ARTIFACT_FOLDER):
            source = f"{run.info.artifact_uri}/{ARTIFACT_FOLDER}"
            return Path(
                download_artifacts(
                    artifact_uri=source,
                    dst_path=str(scratch),
                    tracking_uri=registry.client.tracking_uri,
                )
            )
    except (MlflowException, OSError) as error:
        raise ConfigError(f"run {run_id} cannot be read: {str(error).splitlines()[0]}") from None
    tags = run.data.tags
    if tags.get("model") and tags.get("version"):
        version = registry.version(tags["model"], tags["version"])
        return registry.download(version, scratch)
    raise ConfigError(
        f"run {run_id} keeps no forecaster: only the run of each training's winner does; "
        "give that one, or the run it belongs to"
    )


def read_table(path: Path) -> pd.DataFrame:
    """A long table of a file, its stamps as they stand there; `DataError` where it is none."""
    import pandas as pd

    existing(str(path), "table")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        frame = pd.read_csv(path, dtype={"unique_id": "string"})
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    if "ds" not in frame or pd.api.types.is_numeric_dtype(frame["ds"]):
        return frame
    try:
        return frame.assign(ds=pd.to_datetime(frame["ds"], format="ISO8601"))
    except ValueError as error:
        raise DataError(
            f"{path}: column ds is not in ISO 8601 (2024-01-31, or with a time): which number is "
            f"the day is not guessed at here; write it so, or give a registered model, whose "
            f"config says how tables are read ({error})"
        ) from None


def lines(found: Diagnosis) -> list[str]:
    """The diagnosis in words, for a terminal."""
    texts = [
        f"{found.cell}, {found.series} series, {found.steps} recurrent steps of "
        f"{found.segment} data step{'s' if found.segment > 1 else ''} read"
    ]
    texts += [
        f"  signal of {name}: reaches back {found.reach(name)} of {len(gradient)} recurrent steps"
        for name, gradient in found.gradients.items()
    ]
    for depth, layer in enumerate(found.summary()["layers"], start=1):
        for gate, use in layer["gates"].items():
            texts.append(
                f"  layer {depth} {gate}: {use['shut']:.0%} shut, {use['open']:.0%} open, "
                f"mean {use['mean']:.2f}"
            )
        if "memory_median" in layer:
            texts.append(
                f"  layer {depth} memory: median {layer['memory_median']:.3g} recurrent steps, "
                f"longest tenth from {layer['memory_p90']:.3g}"
            )
    return texts
