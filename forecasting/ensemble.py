"""`Ensemble`: what training makes. Stateless per call, safe under any number of threads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch

from forecasting.arrays import Array
from forecasting.copula.dependence import Dependence
from forecasting.copula.learning import USUAL
from forecasting.evaluation.choice import Choice
from forecasting.networks import ForecastNetwork
from forecasting.networks.output import answer, tensors_of
from forecasting.prediction.answers import Answers
from forecasting.prediction.why.member import Member
from forecasting.resolved import Resolved
from forecasting.schema import Schema
from forecasting.windows.batch import Batch


class Ensemble(Answers):
    """Trained members that forecast with the median of their quantiles.

    Attributes
    ----------
    networks : one per member, on the CPU unless moved with `to`.
    history : one row per epoch of training.
    fitted : ``seconds``, ``series``, ``rows`` and the newest stamp (``until``, in microseconds or
        steps) of the training; empty where they are not known.
    choice : what was tried at held-back origins and why this was kept.
    """

    def __init__(
        self,
        *,
        config: Resolved,
        schema: Schema,
        networks: Sequence[ForecastNetwork],
        correction: Array | None = None,
        dependence: Dependence | None = None,
        history: list[dict[str, Any]] | None = None,
        fitted: dict[str, float] | None = None,
        choice: Choice | None = None,
    ) -> None:
        super().__init__(
            config, schema, correction, self._run_networks, dependence=dependence or USUAL
        )
        self.networks = list(networks)
        self.history, self.fitted = history or [], fitted or {}
        self.choice = choice or Choice()
        self.device = torch.device("cpu")

    @property
    def swing(self) -> dict[str, float]:
        """How the members' scores differ; see `Choice`."""
        return self.choice.swing

    def to(self, device: str) -> Self:
        """A copy with its networks on another device; this one stays as it is."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        moved.networks = [copy.deepcopy(network).to(moved.device) for network in self.networks]
        moved.runner = moved._run_networks
        return moved

    def members(self) -> list[Member]:
        """The networks in NumPy, as `Answers.why` takes them."""
        return [
            Member(
                self.config,
                self.reads,
                {k: v.detach().cpu().numpy() for k, v in network.state_dict().items()},
                network.config.model.cell,
            )
            for network in self.networks
        ]

    def _run_networks(self, batch: Batch[Array]) -> tuple[Array, Array, Array]:
        """All members over one batch: params [B, M, H, D], level and scale [B, M]."""
        tensors = tensors_of(batch, self.device)
        with torch.inference_mode():
            return answer([network(tensors) for network in self.networks])
