"""The ``MLmodel`` file beside a bundle: how MLflow's own tools load it, and what they send it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ARTIFACT_FOLDER = "model"  # of a run; holds the bundle and its ``MLmodel``
LOADER = "serving.pyfunc"


def write_mlmodel(folder: Path, bundle: Path, *, run_id: str, example: pd.DataFrame | None) -> None:
    """Write the ``MLmodel`` file that lets any MLflow tool load the bundle, with its signature.

    The loader is named, not shipped: code comes from the installed package only.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    manifest = json.loads((bundle / "manifest.json").read_text())
    model = Model(run_id=run_id, artifact_path=ARTIFACT_FOLDER, signature=signature(manifest))
    mlflow.pyfunc.add_to_model(model, loader_module=LOADER, python_env="python_env.yaml")
    if example is not None:
        rows = {"dataframe_split": json.loads(example.to_json(orient="split", date_format="iso"))}
        (folder / "input_example.json").write_text(json.dumps(rows))
        model.saved_input_example_info = {
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        }
    version = platform.python_version()
    (folder / "python_env.yaml").write_text(f"python: {version}\ndependencies: [gatecast]\n")
    model.save(str(folder / "MLmodel"))


def signature(manifest: Mapping[str, Any]) -> Any:
    """Columns a caller sends and gets, read from a bundle's manifest."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import (
        ColSpec,
        DataType,
        ParamSchema,
        ParamSpec,
        Schema,
        TensorSpec,
    )

    steps = str(manifest.get("freq", "")).endswith("step")
    stamp = DataType.long if steps else DataType.datetime
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "unique_id"),
        ColSpec(stamp, "ds"),
        ColSpec(DataType.double, "y", required=False),
    ]
    for covariate in manifest.get("covariates", ()):
        kind = DataType.string if covariate["type"] == "categorical" else DataType.double
        columns.append(ColSpec(kind, covariate["name"], required=False))
    answers: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "unique_id"),
        ColSpec(stamp, "ds"),
    ]
    answers += [ColSpec(DataType.double, n) for n in ("mean", "q0.1", "q0.5", "q0.9")]
    # Without them MLflow drops what a caller asks for.
    params = ParamSchema(
        [
            ParamSpec("horizon", DataType.long, int(manifest["horizon"])),
            ParamSpec("quantiles", DataType.double, [0.1, 0.5, 0.9], shape=(-1,)),
            ParamSpec("extend", DataType.boolean, False),
        ]
    )
    return ModelSignature(inputs=Schema(columns), outputs=Schema(answers), params=params)
