"""An LSTM layer whose batch is shared out among the cores, and read in parts that stay in memory.

oneDNN's own threads wait for each other at every step; each core with windows of its own does not.
What the way back needs oneDNN keeps in one block per call. glibc holds blocks of up to 64 MB ready
for a thread other than the main one, and maps larger ones anew, page by page, in every step.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from forecasting.networks.shares import each_on_a_core, shares

# Windows times steps times units for which oneDNN keeps some 60 MB.
MOST_KEPT = 1_000_000


class FastLSTM(nn.LSTM):
    """One ``nn.LSTM`` layer, batch first: its parameters, its results to rounding.

    Is ``nn.LSTM`` on a GPU, without gradients, under autocast, traced or exported, begun from given
    states, or where there is no work for a second core.
    """

    def forward(  # type: ignore[override]
        self, x: Tensor, states: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """``x`` [B, T, D] to [B, T, H], and the last states, [directions, B, H] each."""
        if states is not None or not self._in_parts(x):
            return super().forward(x, states)
        hidden, h, c = _Shared.apply(self, x, *self.parameters())  # type: ignore[no-untyped-call]
        return hidden, (h, c)

    def _in_parts(self, x: Tensor) -> bool:
        usable = (
            x.device.type == "cpu"
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and not torch.jit.is_tracing()  # type: ignore[no-untyped-call]
            and not torch.compiler.is_compiling()
        )
        if not usable:
            return False
        main = threading.current_thread() is threading.main_thread()
        kept = x.shape[0] * x.shape[1] * self.hidden_size
        return len(shares(len(x), self.hidden_size)) > 1 or (not main and kept > MOST_KEPT)


class _Part(NamedTuple):
    """Windows read together: where they are, and the graph that leads back from what was read."""

    windows: slice
    x: Tensor
    hidden: Tensor
    h: Tensor
    c: Tensor


class _Shared(torch.autograd.Function):
    """``x`` [B, T, D] and the layer's parameters to its hidden and last states."""

    @staticmethod
    def forward(ctx: Any, layer: FastLSTM, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.weights, wanted = weights, ctx.needs_input_grad[1]
        directions = 2 if layer.bidirectional else 1
        hidden = x.new_empty(*x.shape[:2], layer.hidden_size * directions)
        h, c = (x.new_empty(directions, len(x), layer.hidden_size) for _ in range(2))
        size = max(MOST_KEPT // (x.shape[1] * layer.hidden_size * directions), 1)

        def read(own: slice) -> list[_Part]:
            parts = []
            for begin in range(own.start, own.stop, size):
                windows = slice(begin, min(begin + size, own.stop))
                piece = x[windows].detach().requires_grad_(wanted)
                with torch.enable_grad():
                    out, (last_h, last_c) = nn.LSTM.forward(layer, piece)
                parts.append(_Part(windows, piece, out, last_h, last_c))
                hidden[windows], h[:, windows], c[:, windows] = out, last_h, last_c
            return parts

        ctx.shares = each_on_a_core(read, shares(len(x), layer.hidden_size))
        return hidden, h, c

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_hidden: Tensor | None, of_h: Tensor | None, of_c: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        wanted, parts = ctx.needs_input_grad[1], ctx.shares
        del ctx.shares
        first: Tensor = parts[0][0].x
        count = sum(len(part.x) for share in parts for part in share)
        d_x = first.new_empty(count, *first.shape[1:]) if wanted else None

        def learn(share: list[_Part]) -> list[Tensor]:
            total: list[Tensor] = []
            while share:
                # What a part keeps is free once it is used.
                part = share.pop()
                given = (
                    (part.hidden, None if of_hidden is None else of_hidden[part.windows]),
                    (part.h, None if of_h is None else of_h[:, part.windows]),
                    (part.c, None if of_c is None else of_c[:, part.windows]),
                )
                known = [(out, grad) for out, grad in given if grad is not None]
                inputs = [part.x, *ctx.weights] if wanted else list(ctx.weights)
                found = list(
                    torch.autograd.grad(
                        [out for out, _ in known], inputs, [grad for _, grad in known]
                    )
                )
                if d_x is not None:
                    d_x[part.windows] = found.pop(0)
                total = list(torch._foreach_add(total, found)) if total else found
            return total

        found = each_on_a_core(learn, parts)
        # Summed in the order of the shares, whichever was ready first.
        return None, d_x, *(torch.stack(each).sum(0) for each in zip(*found, strict=True))
