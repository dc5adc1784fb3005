"""Networks that small panels start from, pretrained on the histories of public competitions.

``card.json`` says what each was trained on and how, and holds its settings and the SHA-256 of its
weights; ``python -m benchmarks.pretrain`` makes both. Which panels start from them,
`forecasting.training.defaults` says; what becomes of them, `forecasting.selection.starts`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from forecasting.bundle import sha256
from forecasting.config import ForecasterConfig
from forecasting.errors import BundleError, ConfigError
from forecasting.hardware.torch_state import own_randomness
from forecasting.networks import ForecastNetwork
from forecasting.resolved import Resolved
from forecasting.schema import Schema

FOLDER = Path(__file__).parent
CARD = "card.json"


def available() -> dict[str, ForecasterConfig]:
    """The settings each start was trained with, by name; empty where none are installed.

    Raises
    ------
    BundleError : a damaged card.
    """
    return {name: _config(name, entry) for name, entry in _card().items()}


def load(name: str, config: Resolved, schema: Schema | None = None) -> list[ForecastNetwork]:
    """The members of a start, cut to a horizon and open to covariates.

    The direct head and the linear skip have one row per step ahead, which nothing else shares:
    those of the first steps are the network of the shorter horizon. What static and past
    covariates add to the inputs has weights of zero: they count once something was learned.

    Parameters
    ----------
    config : the start's own but for what leaves the weights' shapes alone, and a horizon
        of at most its own. schema : the covariates, none of them known ahead; None for none.

    Raises
    ------
    BundleError : weights that are missing, altered, or do not fit the settings.
    """
    entry = _card()[name]
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file() or sha256(path) != entry["sha256"]:
        raise BundleError(f"{path} is missing or not what its card describes: install again")
    tensors = load_file(str(path))
    rows = config.horizon * len(config.model.quantile_levels)
    networks = []
    for m, cell in enumerate(entry["cells"]):
        state = {
            key.removeprefix(f"{m}."): value.float()
            for key, value in tensors.items()
            if key.startswith(f"{m}.")
        }
        for key, count in (
            ("decoder.out.weight", rows),
            ("decoder.out.bias", rows),
            ("skip.weight", config.horizon),
            ("skip.bias", config.horizon),
        ):
            state[key] = state[key][:count].contiguous()
        with own_randomness():
            torch.manual_seed(config.training.seed + m)
            member = config.replace(model={"cell": cell})
            network = ForecastNetwork(member, schema or Schema(), 0)
        own = network.state_dict()
        for key in ("embedding.weight", "decoder.context.weight"):
            wider = torch.zeros_like(own[key])
            wider[:, : state[key].shape[1]] = state[key]
            state[key] = wider
        state = {**{k: v for k, v in own.items() if k.startswith(("static.", "past."))}, **state}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise BundleError(f"{path} does not fit the settings: {error}") from None
        networks.append(network.eval().requires_grad_(False))
    return networks


def cells(name: str) -> tuple[str, ...]:
    """The cell of each member."""
    return tuple(map(str, _card()[name]["cells"]))


def _card() -> dict[str, dict[str, Any]]:
    path = FOLDER / CARD
    if not path.is_file():
        return {}
    try:
        content: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))["starts"]
    except (ValueError, KeyError, TypeError):
        raise BundleError(f"{path} is damaged: install again") from None
    return content


def _config(name: str, entry: dict[str, Any]) -> ForecasterConfig:
    try:
        return ForecasterConfig.parse(entry["config"])
    except (ConfigError, KeyError) as error:
        raise BundleError(f"{FOLDER / CARD}, {name}: {error}; install again") from None
