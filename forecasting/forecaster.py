"""`Forecaster`: fit, predict, save, load. Stateless per call, safe under any number of threads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from forecasting import bundle, streaming
from forecasting.calendar import calendar_names
from forecasting.config import ForecasterConfig, Schema
from forecasting.errors import BundleError, DataError
from forecasting.export import export_onnx, golden
from forecasting.inference import Array, Engine
from forecasting.networks import ForecastNetwork
from forecasting.panel import Panel
from forecasting.stream_state import State


class Forecaster(Engine):
    """Trained members that forecast with the median of their quantiles.

    Attributes
    ----------
    networks : one per member, on the CPU unless moved with `to`.
    history : one row per epoch of training. swing : min, median and max score of the members on
        held-back origins (MASE), and the ensemble's; where a pretrained start was among the
        choices, ``start_shipped``, ``start_tuned`` and ``start_none`` are what each scored.
    """

    def __init__(
        self,
        *,
        config: ForecasterConfig,
        schema: Schema,
        networks: Sequence[ForecastNetwork],
        correction: Array | None = None,
        history: list[dict[str, Any]] | None = None,
        swing: dict[str, float] | None = None,
    ) -> None:
        super().__init__(config, schema, correction, self._run_networks)
        self.networks = list(networks)
        self.history, self.swing = history or [], swing or {}
        self.device = torch.device("cpu")

    @classmethod
    def fit(
        cls,
        df: pd.DataFrame,
        *,
        horizon: int,
        freq: str | None = None,
        static: pd.DataFrame | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        categorical: Sequence[str] = (),
        config: ForecasterConfig | dict[str, Any] | None = None,
        members: int | None = None,
        seed: int | None = None,
        device: str = "auto",
    ) -> Forecaster:
        """Train on a long table ``unique_id, ds, y`` and covariates.

        Parameters
        ----------
        horizon : steps to forecast. freq : pandas alias; inferred when not given.
        static : one row per series, columns beside ``unique_id``. past, future : columns of
            ``df`` known up to the cutoff, and over the horizon too. categorical : which of all
            these are categories although they are numbers; text always is.
        config : settings, or a dict of them; whatever is left open is chosen from the data.

        Raises
        ------
        DataError, ConfigError, TrainingError.
        """
        from forecasting.training import fit

        if not isinstance(config, ForecasterConfig):
            config = ForecasterConfig.parse({**(config or {}), "horizon": horizon})
        changes: dict[str, Any] = {"horizon": horizon}
        if freq is not None:
            changes["freq"] = freq
        chosen = {"members": members, "seed": seed}
        chosen = {key: value for key, value in chosen.items() if value is not None}
        config = config.replace(**changes, **({"training": chosen} if chosen else {}))
        panel = Panel.from_frame(
            df, freq=config.freq, static=static, past=past, future=future, categorical=categorical
        )
        return fit(panel, config, device=device)

    def predict(
        self,
        df: pd.DataFrame | None = None,
        *,
        future: pd.DataFrame | None = None,
        static: pd.DataFrame | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        extend: bool = False,
        state: State | None = None,
    ) -> pd.DataFrame:
        """Forecast a long table, or from a ``state`` that has read it.

        See `Engine.predict`. With a state (of `encode` or `update`) neither ``df`` nor ``static``
        is given; the state holds them. ``extend`` needs the table.
        """
        if state is None:
            if df is None:
                raise DataError("there is nothing to forecast: give a table, or a state")
            return super().predict(
                df, future=future, static=static, horizon=horizon, quantiles=quantiles,
                extend=extend,
            )  # fmt: skip
        if df is not None or static is not None or extend:
            raise DataError("with a state go only future, horizon and quantiles: it holds the rest")
        forecast = streaming.forecast(
            self, state, future=future, horizon=horizon, quantiles=quantiles
        )
        if forecast.problems:
            first = forecast.problems[0]
            raise DataError(
                f"{len(forecast.problems)} of {len(state.ids)} series cannot be forecast; "
                f"first: series {first.id!r}: {first.detail}"
            )
        return forecast.to_frame()

    def encode(self, panel: Panel | pd.DataFrame, *, static: pd.DataFrame | None = None) -> State:
        """The state after reading every row of a panel or long table; see `streaming`."""
        if not isinstance(panel, Panel):
            panel = Panel.from_frame(panel, freq=self.freq, static=static, schema=self.schema)
        return streaming.encode(self, panel)

    def update(
        self, state: State, new_rows: pd.DataFrame, *, future: pd.DataFrame | None = None
    ) -> State:
        """The state after some more rows, at a cost that does not grow with the history."""
        return streaming.update(self, state, new_rows, future=future)

    def to(self, device: str) -> Forecaster:
        """This forecaster with its networks on another device."""
        self.device = torch.device(device)
        for network in self.networks:
            network.to(self.device)
        return self

    def save(
        self,
        path: str | Path,
        *,
        metrics: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write a bundle folder: all of it, or nothing.

        ``metrics`` and ``extra`` (lineage and the like) are kept in the manifest.
        """
        target = Path(path)
        if target.is_file() or (
            target.is_dir() and any(target.iterdir()) and not (target / "manifest.json").is_file()
        ):
            raise BundleError(
                f"{target} exists and is no saved forecaster: it is not overwritten; "
                "name another folder"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            tensors = {
                f"{m}.{name}": value.detach().cpu().contiguous()
                for m, network in enumerate(self.networks)
                for name, value in network.state_dict().items()
            }
            save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
            export_onnx(self, half / "model.onnx")
            bundle.write_json(
                half / "config.json",
                {
                    "config": self.config.model_dump(mode="json"),
                    "schema": self.schema.model_dump(mode="json"),
                    "correction": None if self.correction is None else self.correction.tolist(),
                    "cells": [n.config.model.cell for n in self.networks],
                },
            )
            bundle.write_manifest(
                half,
                {
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "horizon": self.config.horizon,
                    "freq": self.config.freq,
                    "season": self.config.season,
                    "context": self.context,
                    "quantile_levels": list(self.config.model.quantile_levels),
                    "covariates": self.schema.model_dump(mode="json")["covariates"],
                    "members": {"count": len(self.networks), **self.swing},
                    "start": self.config.training.start,
                    "metrics": dict(metrics or {}),
                    "golden": golden(self),
                    **dict(extra or {}),
                },
            )
            # A service under another account reads what training wrote.
            half.chmod(0o755)
            for file in half.iterdir():
                file.chmod(0o644)
            if target.exists():
                shutil.rmtree(target)
            half.replace(target)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
        return target

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> Forecaster:
        """Open a bundle with torch; `BundleError` says what is wrong with it."""
        manifest = bundle.verify(path)
        parts = bundle.read(path)
        tensors = load_file(str(Path(path) / "model.safetensors"))
        calendar = 0
        if parts.config.model.calendar:
            from forecasting.calendar import Frequency

            calendar = len(calendar_names(Frequency.parse(parts.config.freq or "step")))
        networks = []
        for m, cell in enumerate(parts.cells):
            member = parts.config.replace(model={"cell": cell})
            network = ForecastNetwork(member, parts.schema, calendar)
            prefix = f"{m}."
            weights = {k.removeprefix(prefix): v for k, v in tensors.items() if
                       k.startswith(prefix)}  # fmt: skip
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                raise BundleError(f"{path}: the weights do not fit the settings: {error}") from None
            networks.append(network.eval().requires_grad_(False))
        if any(int(name.partition(".")[0]) >= len(networks) for name in tensors):
            raise BundleError(f"{path}: there are weights of more members than the settings name")
        swing = {k: v for k, v in manifest.get("members", {}).items() if k != "count"}
        return cls(
            config=parts.config,
            schema=parts.schema,
            networks=networks,
            correction=parts.correction,
            swing=swing,
        ).to(device)

    def _run_networks(self, batch: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        """All members over one batch: params [B, M, H, D], level and scale [B, M]."""
        tensors = {k: torch.from_numpy(np.ascontiguousarray(v)).to(self.device)
                   for k, v in batch.items()}  # fmt: skip
        with torch.inference_mode():
            outputs = [network(tensors) for network in self.networks]
            params = torch.stack([o.params[:, 0] for o in outputs], dim=1)
            level = torch.stack([o.level[:, 0, 0] for o in outputs], dim=1)
            scale = torch.stack([o.scale[:, 0, 0] for o in outputs], dim=1)
        return params.cpu().numpy(), level.cpu().numpy(), scale.cpu().numpy()
