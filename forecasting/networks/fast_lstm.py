"""An LSTM layer for where oneDNN's, which is torch's own, is the slower one.

As in `fast_gru`, the backward pass is written out, each weight's gradient is formed chunk by chunk
while it is in cache, and large batches are shared out whole among the cores. oneDNN is faster on
one core, and on several whose threads spin while they wait for each other at every step. Where they
sleep, it is not. Nor is it in a thread other than the main one: what the way back needs it keeps in
one block, and glibc holds none above 64 MB ready for such a thread but maps it anew, page by page,
in every step.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from forecasting.hardware.shares import each_on_a_core, shares, threads_sleep
from forecasting.networks.scripted import chunk, scripted, written_out

# Windows times steps times units for which oneDNN keeps some 60 MB.
MOST_KEPT = 1_000_000


class FastLSTM(nn.LSTM):
    """One ``nn.LSTM`` layer, batch first: its parameters, its results to rounding.

    Is ``nn.LSTM`` itself wherever that is the faster or the only way: see above, and on a GPU,
    without gradients, under autocast, traced or exported, or in both directions.
    """

    def forward(  # type: ignore[override]
        self, x: Tensor, states: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """``x`` [B, T, D], states [1, B, H] each or None, to [B, T, H] and the last states."""
        if not self._written_out(x):
            return super().forward(x, states)
        nothing = x.new_zeros(x.shape[0], self.hidden_size)
        h, c = (nothing, nothing) if states is None else (states[0][0], states[1][0])
        hidden, last = _LSTMFunction.apply(  # type: ignore[no-untyped-call]
            x.transpose(0, 1).contiguous(),
            h,
            c,
            self.weight_ih_l0,
            self.weight_hh_l0,
            self.bias_ih_l0,
            self.bias_hh_l0,
        )
        return hidden.transpose(0, 1), (hidden[-1:], last[None])

    def _written_out(self, x: Tensor) -> bool:
        if not written_out(self, x):
            return False
        if threading.current_thread() is threading.main_thread():
            return threads_sleep() and len(shares(len(x), self.hidden_size)) > 1
        return x.shape[0] * x.shape[1] * self.hidden_size > MOST_KEPT


class _LSTMFunction(torch.autograd.Function):
    """``x`` [T, B, D], first states [B, H] to all hidden states [T, B, H] and the last cell."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        w_x: Tensor,
        w_h: Tensor,
        b_x: Tensor,
        b_h: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.shares = shares(x.shape[1], w_h.shape[1])
        states, cells = (x.new_empty(x.shape[0] + 1, *first.shape) for first in (h, c))
        states[0], cells[0] = h, c

        def read(own: slice) -> tuple[Tensor, Tensor]:
            activations: tuple[Tensor, Tensor] = scripted(_read)(
                x[:, own], states[:, own], cells[:, own], w_x, w_h, b_x + b_h,
                chunk(own.stop - own.start),
            )  # fmt: skip
            return activations

        by_share = each_on_a_core(read, ctx.shares)
        ctx.save_for_backward(w_x, w_h, x, states, cells, *(t for share in by_share for t in share))
        return states[1:], cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, of_c: Tensor | None) -> tuple[Tensor | None, ...]:
        w_x, w_h, x, states, cells, *activations = ctx.saved_tensors
        grad = torch.zeros_like(states[1:]) if grad is None else grad
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        d_h = torch.zeros_like(states[0])
        d_c = torch.zeros_like(d_h) if of_c is None else of_c.clone()

        def learn(share: int) -> tuple[Tensor, ...]:
            own, (gates, tanhs) = ctx.shares[share], activations[2 * share : 2 * share + 2]
            gradients: tuple[Tensor, ...] = scripted(_learn)(
                grad[:, own], x[:, own], gates, tanhs, states[:, own], cells[:, own], w_x, w_h,
                None if d_x is None else d_x[:, own], d_h[own], d_c[own], chunk(gates.shape[1]),
            )  # fmt: skip
            return gradients

        by_share = each_on_a_core(learn, range(len(ctx.shares)))
        # Summed in the order of the shares, whichever was ready first.
        d_wx, d_wh, d_b = (torch.stack(each).sum(0) for each in zip(*by_share, strict=True))
        return d_x, d_h, d_c, d_wx.t(), d_wh.t(), d_b, d_b


def _read(
    x: Tensor, states: Tensor, cells: Tensor, w_x: Tensor, w_h: Tensor, b: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Gates [T, B, 4 H] and tanh(c) [T, B, H]; fills ``states`` and ``cells`` [T + 1, B, H].

    Gates i, f, g = tanh, o in torch's order; c' = f * c + i * g; h' = o * tanh(c').
    """
    steps, batch, _ = x.shape
    size = w_h.shape[1]
    gates, tanhs = x.new_empty(steps, batch, 4 * size), x.new_empty(steps, batch, size)
    # tanh(v) = 2 sigmoid(2 v) - 1 takes a third of the time: g comes doubled.
    doubled = torch.ones(4, 1, dtype=x.dtype)
    doubled[2] = 2.0
    factor = doubled.expand(4, size).reshape(4 * size, 1)
    w_xt, w_ht = (factor * w_x).t(), (factor * w_h).t().contiguous()
    bias = factor[:, 0] * b
    minus_one, two = torch.full((), -1.0, dtype=x.dtype), torch.full((), 2.0, dtype=x.dtype)
    for begin in range(0, steps, chunk):
        part = gates[begin : begin + chunk].view(-1, 4 * size)
        torch.addmm(bias, x[begin : begin + chunk].flatten(0, 1), w_xt, out=part)
        for k in range(begin, min(begin + chunk, steps)):
            gate, after, tanh = gates[k], cells[k + 1], tanhs[k]
            gate.addmm_(states[k], w_ht)
            gate.sigmoid_()
            i, f, g, o = gate.chunk(4, dim=1)
            torch.add(minus_one, g, alpha=2.0, out=g)
            torch.mul(f, cells[k], out=after)
            after.addcmul_(i, g)
            torch.mul(after, two, out=tanh)
            tanh.sigmoid_()
            torch.add(minus_one, tanh, alpha=2.0, out=tanh)
            torch.mul(o, tanh, out=states[k + 1])
    return gates, tanhs


def _learn(
    grad: Tensor,
    x: Tensor,
    gates: Tensor,
    tanhs: Tensor,
    states: Tensor,
    cells: Tensor,
    w_x: Tensor,
    w_h: Tensor,
    d_x: Tensor | None,
    dh: Tensor,
    dc: Tensor,
    chunk: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of both weights, transposed, and of the bias.

    Fills those of x, where wanted, and leaves those of the first states in ``dh`` and ``dc``
    [B, H], which come as those of the last.
    """
    steps, batch, width = x.shape
    size = w_h.shape[1]
    d_wx, d_wh = w_x.new_zeros(width, 4 * size), w_h.new_zeros(size, 4 * size)
    d_bias = w_x.new_zeros(4 * size)
    # The gates' gradients are used up chunk by chunk, while they are still in cache.
    buffer = x.new_empty(min(chunk, steps), batch, 4 * size)
    kept, spare = torch.empty_like(dh), torch.empty_like(dh)
    for end in range(steps, 0, -chunk):
        begin = max(end - chunk, 0)
        part = buffer[: end - begin]
        for k in range(end - 1, begin - 1, -1):
            i, f, g, o = gates[k].chunk(4, dim=1)
            now, tanh = part[k - begin], tanhs[k]
            d_i, d_f, d_g, d_o = now.chunk(4, dim=1)
            dh.add_(grad[k])
            # do = dh tanh(c) o (1 - o); dc takes up dh o (1 - tanh(c)²)
            torch.mul(dh, o, out=spare)
            torch.mul(spare, tanh, out=kept)
            torch.addcmul(kept, kept, o, value=-1.0, out=d_o)
            dc.add_(spare)
            dc.addcmul_(kept, tanh, value=-1.0)
            # di = dc g i (1 - i); dg = dc i (1 - g²)
            torch.mul(dc, i, out=spare)
            torch.mul(spare, g, out=kept)
            torch.addcmul(kept, kept, i, value=-1.0, out=d_i)
            torch.addcmul(spare, kept, g, value=-1.0, out=d_g)
            # df = dc c f (1 - f), and dc f goes back
            dc.mul_(f)
            torch.mul(dc, cells[k], out=spare)
            torch.addcmul(spare, spare, f, value=-1.0, out=d_f)
            torch.mm(now, w_h, out=dh)
        flat = part.view(-1, 4 * size)
        if d_x is not None:
            d_x[begin:end] = torch.mm(flat, w_x).view(end - begin, batch, width)
        d_wx.addmm_(x[begin:end].flatten(0, 1).t(), flat)
        d_wh.addmm_(states[begin:end].flatten(0, 1).t(), flat)
        d_bias += flat.sum(0)
    return d_wx, d_wh, d_bias
