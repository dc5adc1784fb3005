"""A GRU layer that trains on the CPU in fewer passes over memory than ``nn.GRU``.

PyTorch's own path records a dozen autograd nodes per time step and forms each step's share of the
weights' gradient by itself. Here the backward pass is written out: the recurrence does only what
must be done in order, and each weight's gradient is one large product over all steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from forecasting.hardware.shares import each_on_a_core, shares
from forecasting.networks.scripted import chunk, scripted, written_out


class FastGRU(nn.GRU):
    """One ``nn.GRU`` layer, batch first: its parameters, its results to rounding, faster training.

    Falls back to ``nn.GRU`` wherever that is the faster or the only way: on a GPU, without
    gradients, under autocast, traced or exported, or in both directions.
    """

    def forward(  # type: ignore[override]
        self, x: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``x`` [B, T, D], ``state`` [1, B, H] or None, to [B, T, H] and the last [1, B, H]."""
        if not written_out(self, x):
            fused: tuple[Tensor, Tensor] = super().forward(x, state)
            return fused
        start = x.new_zeros(x.shape[0], self.hidden_size) if state is None else state[0]
        hidden: Tensor = _GRUFunction.apply(  # type: ignore[no-untyped-call]
            x.transpose(0, 1).contiguous(),
            start,
            self.weight_ih_l0,
            self.weight_hh_l0,
            self.bias_ih_l0,
            self.bias_hh_l0,
        )
        return hidden.transpose(0, 1), hidden[-1:]


class _GRUFunction(torch.autograd.Function):
    """``x`` [T, B, D] and the first state [B, H] to all hidden states [T, B, H].

    Windows know nothing of each other: where there is work enough, each core takes its share of
    them, as the many small products of the recurrence are too small to be shared out themselves.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor
    ) -> Tensor:
        ctx.shares = shares(x.shape[1], w_h.shape[1])
        states = x.new_empty(x.shape[0] + 1, x.shape[1], w_h.shape[1])
        states[0] = start

        def read(windows: slice) -> Tensor:
            own = x[:, windows]
            gates: Tensor = scripted(_read)(
                own, states[:, windows], w_x, w_h, b_x, b_h, chunk(own.shape[1])
            )
            return gates

        ctx.save_for_backward(w_x, w_h, x, states, *each_on_a_core(read, ctx.shares))
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        w_x, w_h, x, states, *gates = ctx.saved_tensors
        size = w_h.shape[1]
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        d_start = torch.zeros_like(states[0])

        def learn(share: int) -> tuple[Tensor, ...]:
            own = ctx.shares[share]
            gradients: tuple[Tensor, ...] = scripted(_learn)(
                grad[:, own], x[:, own], gates[share], states[:, own], w_x, w_h,
                None if d_x is None else d_x[:, own], d_start[own], chunk(gates[share].shape[1]),
            )  # fmt: skip
            return gradients

        by_share = each_on_a_core(learn, range(len(ctx.shares)))
        # Summed in the order of the shares, whichever was ready first.
        d_wx, d_wh, d_bias = (torch.stack(each).sum(0) for each in zip(*by_share, strict=True))
        d_bx, d_bh = d_bias[size:], d_bias[: 3 * size].roll(-size)
        return d_x, d_start, d_wx.t(), d_wh.roll(-size, 1).t(), d_bx, d_bh


def _read(
    x: Tensor, states: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor, chunk: int
) -> Tensor:
    """Gates [T, B, 4 H]; fills ``states`` [T + 1, B, H] after the first of them.

    Reset r, update z, candidate n = tanh(a + r * b), where a comes from the input and b from the
    state; h' = n + z * (h - n). Four blocks of columns lie side by side as b, r, z, a: what the
    state drives are the first three, what the input drives the last three, and either product
    fills its own in one call.
    """
    steps, batch, _ = x.shape
    size = w_h.shape[1]
    gates = x.new_empty(steps, batch, 4 * size)
    w_ht = w_h.roll(size, 0).t().contiguous()
    # tanh(v) = 2 sigmoid(2 v) - 1 takes a third of the time: a comes doubled.
    w_xt = torch.cat([w_x[: 2 * size], 2.0 * w_x[2 * size :]]).t()
    bias = torch.cat([b_x[: 2 * size] + b_h[: 2 * size], 2.0 * b_x[2 * size :]])
    minus_one = torch.full((), -1.0, dtype=x.dtype)
    for begin in range(0, steps, chunk):
        part = gates[begin : begin + chunk]
        part[..., :size] = b_h[2 * size :]
        flat = part.view(-1, 4 * size)
        torch.addmm(bias, x[begin : begin + chunk].flatten(0, 1), w_xt, out=flat[:, size:])
        for k in range(begin, min(begin + chunk, steps)):
            gate, h, after = gates[k], states[k], states[k + 1]
            gate[:, : 3 * size].addmm_(h, w_ht)
            gate[:, size : 3 * size].sigmoid_()
            b, r, z, n = gate.chunk(4, dim=1)
            n.addcmul_(r, b, value=2.0).sigmoid_()
            torch.add(minus_one, n, alpha=2.0, out=n)
            torch.sub(h, n, out=after)
            torch.addcmul(n, after, z, out=after)
    return gates


def _learn(
    grad: Tensor,
    x: Tensor,
    gates: Tensor,
    states: Tensor,
    w_x: Tensor,
    w_h: Tensor,
    d_x: Tensor | None,
    dh: Tensor,
    chunk: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of both weights, transposed, and of the biases; fills those of x, where wanted,
    and of the first state, ``dh`` [B, H], which comes as zeros.

    The last in the columns b, r, z, a of `_read`; the state's weights in the order b, r, z.
    """
    steps, batch, width = x.shape
    size = w_h.shape[1]
    w_hidden = w_h.roll(size, 0)
    d_wx, d_wh = w_x.new_zeros(width, 3 * size), w_h.new_zeros(size, 3 * size)
    d_bias = w_x.new_zeros(4 * size)
    # The gates' gradients are used up chunk by chunk, while they are still in cache.
    buffer = x.new_empty(min(chunk, steps), batch, 4 * size)
    kept, spare = torch.empty_like(dh), torch.empty_like(dh)
    for end in range(steps, 0, -chunk):
        begin = max(end - chunk, 0)
        part = buffer[: end - begin]
        for k in range(end - 1, begin - 1, -1):
            b, r, z, n = gates[k].chunk(4, dim=1)
            now = part[k - begin]
            d_b, d_r, d_z, d_a = now.chunk(4, dim=1)
            dh.add_(grad[k])
            torch.mul(dh, z, out=kept)
            torch.sub(dh, kept, out=spare)
            # da = dh (1 - z) (1 - n²)
            torch.mul(spare, n, out=d_a)
            torch.addcmul(spare, d_a, n, value=-1.0, out=d_a)
            # dz = dh (h - n) z (1 - z), with dh z at hand
            torch.sub(states[k], n, out=spare)
            spare.mul_(kept)
            torch.addcmul(spare, spare, z, value=-1.0, out=d_z)
            # db = da r; dr = da b r (1 - r)
            torch.mul(d_a, r, out=d_b)
            torch.mul(d_b, b, out=spare)
            torch.addcmul(spare, spare, r, value=-1.0, out=d_r)
            torch.addmm(kept, now[:, : 3 * size], w_hidden, out=dh)
        flat = part.view(-1, 4 * size)
        of_input, of_state = flat[:, size:], flat[:, : 3 * size]
        if d_x is not None:
            d_x[begin:end] = torch.mm(of_input, w_x).view(end - begin, batch, width)
        d_wx.addmm_(x[begin:end].flatten(0, 1).t(), of_input)
        d_wh.addmm_(states[begin:end].flatten(0, 1).t(), of_state)
        d_bias += flat.sum(0)
    return d_wx, d_wh, d_bias
