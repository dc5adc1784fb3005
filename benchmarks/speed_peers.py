"""One measurement of one peer, in whatever interpreter has it installed; started by `speed.py`.

Nothing of Gatecast is imported here. The peers' networks are set to what `speed.py` asks for: same
data, hidden size, layers, context, horizon, batch and number of threads, in float32.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import tempfile
import time
import warnings
from typing import Any

import numpy as np
from speed_clock import Blocks, answer, peak_mb, timed, versions

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

TRAINER = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
PACKAGES = ("neuralforecast", "darts", "gluonts", "torch", "pytorch-lightning", "numpy", "pandas")


def frame(data: Any) -> Any:
    import pandas as pd

    sizes, y = data["sizes"], data["y"]
    position = np.concatenate([np.arange(n) for n in sizes])
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(len(sizes))], sizes),
            "ds": pd.Timestamp("2020-01-01") + pd.to_timedelta(position, unit="h"),
            "y": y.astype(np.float32),
        }
    )


def timer(blocks: Blocks, peer: str) -> Any:
    # GluonTS uses the other of Lightning's two names, and neither knows the other's callbacks.
    pl = importlib.import_module("lightning.pytorch" if peer == "gluonts" else "pytorch_lightning")

    class Timer(pl.Callback):  # type: ignore[name-defined, misc]
        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            blocks()

    return Timer()


def neural(task: dict[str, Any], steps: int, callbacks: list[Any]) -> Any:
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.models import GRU, LSTM

    kind = {"lstm": LSTM, "gru": GRU}[task["cell"]]
    options: dict[str, Any] = {}
    if "hidden" in task:
        options |= {"encoder_hidden_size": task["hidden"], "encoder_n_layers": 2, "loss": MAE(),
                    "windows_batch_size": task["batch"], "scaler_type": "identity"}  # fmt: skip
    model = kind(
        h=task["horizon"],
        input_size=task["context"],
        max_steps=steps,
        recurrent=False,
        enable_checkpointing=False,
        accelerator=task.get("device", "cpu"),
        devices=1,
        callbacks=callbacks,
        random_seed=task.get("seed", 1),
        **options,
        **TRAINER,
    )
    return NeuralForecast(models=[model], freq="h")


def darts(task: dict[str, Any], steps: int, callbacks: list[Any]) -> Any:
    import torch
    from darts.models import BlockRNNModel

    return BlockRNNModel(
        input_chunk_length=task["context"],
        output_chunk_length=task["horizon"],
        model=task["cell"].upper(),
        hidden_dim=task["hidden"],
        n_rnn_layers=2,
        batch_size=task["batch"],
        n_epochs=1000,
        loss_fn=torch.nn.L1Loss(),
        pl_trainer_kwargs={"accelerator": task.get("device", "cpu"), "devices": 1,
                           "max_steps": steps, "callbacks": callbacks, **TRAINER},
    )  # fmt: skip


def darts_series(data: Any) -> list[Any]:
    import pandas as pd
    from darts import TimeSeries

    ends = np.cumsum(data["sizes"])
    return [
        TimeSeries.from_times_and_values(
            pd.date_range("2020-01-01", periods=int(n), freq="h"),
            data["y"][end - n : end].astype(np.float32),
        )
        for n, end in zip(data["sizes"], ends, strict=True)
    ]


def deepar(task: dict[str, Any], steps: int, callbacks: list[Any]) -> Any:
    from gluonts.torch import DeepAREstimator

    return DeepAREstimator(
        freq="h",
        prediction_length=task["horizon"],
        context_length=task["context"],
        num_layers=2,
        hidden_size=task["hidden"],
        # One value per step, as in the other networks, and nothing beside it.
        lags_seq=[1],
        time_features=[],
        dropout_rate=0.0,
        batch_size=task["batch"],
        num_batches_per_epoch=steps,
        trainer_kwargs={"accelerator": task.get("device", "cpu"), "devices": 1, "max_epochs": 1,
                        "callbacks": callbacks, **TRAINER},
    )  # fmt: skip


def listed(data: Any) -> Any:
    """The series as GluonTS wants them."""
    import pandas as pd
    from gluonts.dataset.common import ListDataset

    ends = np.cumsum(data["sizes"])
    start = pd.Period("2020-01-01", freq="h")
    series = [
        {"start": start, "target": data["y"][end - n : end].astype(np.float32)}
        for n, end in zip(data["sizes"], ends, strict=True)
    ]
    return ListDataset(series, freq="h")


def train(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Windows per second while training."""
    blocks = Blocks(task["steps"])
    if task["peer"] == "neuralforecast":
        model = neural(task, blocks.total, [timer(blocks, task["peer"])])
        model.fit(frame(data), val_size=0)
    elif task["peer"] == "gluonts":
        model = deepar(task, blocks.total, [timer(blocks, task["peer"])])
        model.train(listed(data))
    else:
        model = darts(task, blocks.total, [timer(blocks, task["peer"])])
        model.fit(darts_series(data), verbose=False)
    return blocks.result(task["batch"]) | {"peak_mb": peak_mb()}


def accuracy(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Forecasts after a training, and the CPU seconds it took; in the peer's own settings."""
    table = frame(data)
    model = neural(task, task["steps"], [])
    began = time.process_time()
    model.fit(table, val_size=0)
    seconds = time.process_time() - began
    forecast = model.predict()
    column = next(c for c in forecast.columns if c not in ("unique_id", "ds"))
    order = {f"s{i}": i for i in range(len(data["sizes"]))}
    forecast = forecast.assign(order=forecast["unique_id"].map(order)).sort_values(["order", "ds"])
    values = forecast[column].to_numpy().reshape(len(order), task["horizon"])
    np.save(task["save"], values)
    return {"cpu_s": seconds, "steps": task["steps"]}


def predict(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Seconds to forecast every series, by a network trained for a step."""
    if task["peer"] == "neuralforecast":
        table = frame(data)
        model = neural(task, 1, [])
        few = table[table["unique_id"].isin([f"s{i}" for i in range(64)])]
        model.fit(few, val_size=0)
        return timed(lambda: model.predict(df=table), task["repeats"]) | {"peak_mb": peak_mb()}
    if task["peer"] == "gluonts":
        dataset = listed(data)
        predictor = deepar(task, 1, []).train(dataset)
        found = timed(lambda: list(predictor.predict(dataset)), task["repeats"])
        return found | {"peak_mb": peak_mb()}
    series = darts_series(data)
    model = darts(task, 1, [])
    model.fit(series[:64], verbose=False)
    found = timed(
        lambda: model.predict(task["horizon"], series=series, verbose=False), task["repeats"]
    )
    return found | {"peak_mb": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", help="what to measure, as JSON")
    task = json.loads(parser.parse_args().task)
    if task.get("device", "cpu") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    found = versions(*PACKAGES)
    if task["peer"] not in found:
        answer({"absent": task["peer"]})
        return
    import torch

    torch.set_num_threads(task["threads"])
    data = np.load(task["data"])
    measure = {"train": train, "accuracy": accuracy, "predict": predict}[task["what"]]
    with tempfile.TemporaryDirectory() as folder:
        # Some leave checkpoints where they are started.
        os.chdir(folder)
        answer(measure(task, data) | {"versions": found})


if __name__ == "__main__":
    main()
