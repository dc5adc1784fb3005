"""On a GPU: forward pass, loss and backward pass of a step replayed as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

# A dictionary of tensors, whatever its entries are called.
Tensors = TypeVar("Tensors", bound=Mapping[str, object])

# Runs before a capture, on a stream aside: libraries choose and load their kernels in them.
WARM_RUNS = 3

# What is captured gives a loss and its gradients; what comes back fills these same tensors anew.
Step = Callable[[], tuple[Tensor, ...]]
Capture = Callable[[Step, torch.Generator | None], tuple[tuple[Tensor, ...], Callable[[], Any]]]


def captured(
    step: Step, draws: torch.Generator | None
) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
    """What a step gives (tensors of any shape), and a call that fills it anew by a CUDA graph.

    Other threads may go on using the device meanwhile. The draws are left as they were: the first
    replay draws what the first step would have drawn.

    Raises
    ------
    RuntimeError : the step waits for the device or copies from the host.
    """
    before = draws.get_state() if draws is not None else None
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_RUNS):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    if draws is not None and before is not None:
        draws.set_state(before)
        graph.register_generator_state(draws)
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        filled = step()
    return filled, graph.replay


class ReplayedLoss(Generic[Tensors]):
    """Captures the loss and its gradients at the first batch; every later one is a replay.

    Shapes must stay as they were, and parameters where they are. What a replay gives is
    overwritten by the next, so the loss is handed out as a copy.

    Parameters
    ----------
    network : whose parameters the loss depends on.
    loss : of the batch that the network may see and the whole one.
    draws : what dropout draws from; None: the device's own generator.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensors, Tensors], Tensor],
        draws: torch.Generator | None = None,
        capture: Capture = captured,
    ) -> None:
        self.loss, self.draws, self.capture = loss, draws, capture
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.inputs: list[Tensor] = []
        self.filled: tuple[Tensor, ...] = ()
        self.used: list[bool] = []
        self.replay: Callable[[], Any] | None = None

    def __call__(self, seen: Tensors, whole: Tensors) -> Tensor:
        """The loss of a batch, [], ready for ``backward``.

        Raises
        ------
        ValueError : another shape than that of the first batch.
        """
        tensors = cast("list[Tensor]", [*seen.values(), *whole.values()])
        if self.replay is None:
            self._record(seen, whole, tensors)
        for own, new in zip(self.inputs, tensors, strict=True):
            if own.shape != new.shape:
                raise ValueError(f"captured for {tuple(own.shape)}, not {tuple(new.shape)}")
            own.copy_(new)
        cast("Callable[[], Any]", self.replay)()
        value: Tensor = _Handed.apply(  # type: ignore[no-untyped-call]
            self.filled, self.used, *self.parameters
        )
        return value

    def _record(self, seen: Tensors, whole: Tensors, tensors: Sequence[Tensor]) -> None:
        self.inputs = [t.clone() for t in tensors]
        one = dict(zip(seen, self.inputs[: len(seen)], strict=True))
        other = dict(zip(whole, self.inputs[len(seen) :], strict=True))

        def step() -> tuple[Tensor, ...]:
            value = self.loss(cast("Tensors", one), cast("Tensors", other))
            gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
            self.used = [gradient is not None for gradient in gradients]
            return value.detach(), *(gradient for gradient in gradients if gradient is not None)

        with torch.enable_grad(), _casts_anew():
            self.filled, self.replay = self.capture(step, self.draws)


@contextmanager
def _casts_anew() -> Iterator[None]:
    """Within it autocast keeps no weight it has cast: a replay would go on using the first."""
    enabled = torch.is_autocast_cache_enabled()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


class _Handed(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(
        ctx: Any, filled: tuple[Tensor, ...], used: list[bool], *parameters: Tensor
    ) -> Tensor:
        ctx.gradients, ctx.used = filled[1:], used
        return filled[0].clone()

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> tuple[Tensor | None, ...]:
        scaled = iter(torch._foreach_mul(ctx.gradients, of_loss[0]))
        return None, None, *(next(scaled) if used else None for used in ctx.used)
