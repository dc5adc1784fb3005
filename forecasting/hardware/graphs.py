"""On a GPU: forward pass, loss and backward pass replayed as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

# A dictionary of tensors, whatever its entries are called.
Tensors = TypeVar("Tensors", bound=Mapping[str, object])


class BatchLoss(nn.Module, Generic[Tensors]):
    """The loss of a batch as a module that takes its tensors one by one, as capturing asks for.

    Parameters
    ----------
    network : whose parameters the loss depends on.
    loss : of the batch that the network may see and the whole one.
    names : of the tensors, for the one batch and the other.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensors, Tensors], Tensor],
        names: tuple[tuple[str, ...], tuple[str, ...]],
    ) -> None:
        super().__init__()
        self.network, self.loss, self.names = network, loss, names

    def forward(self, *tensors: Tensor) -> Tensor:
        """A scalar, of the tensors of the one batch and then those of the other."""
        seen, whole = self.names
        one = dict(zip(seen, tensors[: len(seen)], strict=True))
        other = dict(zip(whole, tensors[len(seen) :], strict=True))
        return self.loss(cast("Tensors", one), cast("Tensors", other))


class ReplayedLoss(Generic[Tensors]):
    """Captures the loss and its gradient at the first batch; every later one is a replay.

    Shapes must stay as they were. What a replay gives is overwritten by the next, so the loss is
    handed out as a copy.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensors, Tensors], Tensor],
        capture: Callable[..., Any] = torch.cuda.make_graphed_callables,
    ) -> None:
        self.network, self.loss, self.capture = network, loss, capture
        self.replay: nn.Module | None = None

    def __call__(self, seen: Tensors, whole: Tensors) -> Tensor:
        """The loss of a batch, [], ready for ``backward``."""
        tensors = cast("tuple[Tensor, ...]", (*seen.values(), *whole.values()))
        if self.replay is None:
            names = (tuple(seen), tuple(whole))
            sample = tuple(t.clone() for t in tensors)
            self.replay = self.capture(
                BatchLoss(self.network, self.loss, names), sample, allow_unused_input=True
            )
        replayed: Tensor = self.replay(*tensors)
        return replayed.clone()
