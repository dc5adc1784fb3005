"""One trained network in NumPy, as far as it takes to say what its median is made of.

From a batch to what each row of the history, each covariate and the calendar add to the scaled
median of every step: the linear skip is read off, the recurrent part integrated along the straight
path from a history that stands at its level, with covariates at their means (categories unknown),
to the history as it is (integrated gradients; Sundararajan, Taly & Yan 2017). The integral is taken
at the nodes of Gauss and Legendre: networks here are smooth, so few of them are exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from forecasting.prediction.why.layers import Layer, Norm, Stack, layer_of
from forecasting.resolved import Resolved
from forecasting.schema import Covariate, Schema
from forecasting.windows.batch import Batch, named
from forecasting.windows.geometry import Geometry

CELLS = ("gru", "lstm", "rnn")
HEADS = ("quantiles", "student_t", "point")
# The owner of what the calendar and the learned cycle say; covariates are counted from 0.
SEASON = -1


class Shares(NamedTuple):
    """What makes up the scaled median of one series' H steps, beside what it is without all this.

    Attributes
    ----------
    rows : [H, R] of each row of the history. season : [H] of calendar and learned cycle.
    covariates : [H, C] of each covariate of the schema, in its order.
    """

    rows: Array
    season: Array
    covariates: Array


class _Inputs(NamedTuple):
    """Inputs of every step of one series, at both ends of the path, and whose they are.

    Attributes
    ----------
    begin, end : [S, F]. row : [S, K + lags] which row each value shown is of.
    owner : [F] covariate, `SEASON`, or -2 for values and marks.
    ahead_begin, ahead_end : [H, A]; ahead_owner : [A].
    static_begin, static_end : [Z]; static_owner : [Z].
    cycle : [H] the learned cycle's, in the linear skip.
    """

    begin: Array
    end: Array
    row: Array
    owner: Array
    ahead_begin: Array
    ahead_end: Array
    ahead_owner: Array
    static_begin: Array
    static_end: Array
    static_owner: Array
    cycle: Array


def check_explainable(config: Resolved, cells: tuple[str, ...]) -> None:
    """Raise `DataError` for networks that are not spelled out here."""
    model = config.model
    for setting, value, choices in (
        ("model.decoder", model.decoder, ("direct",)),
        ("model.head", model.head, HEADS),
        ("model.bidirectional", model.bidirectional, (False,)),
        *(("model.cell", cell, CELLS) for cell in cells),
    ):
        if value not in choices:
            text = " or ".join(str(name) for name in choices)
            raise DataError(
                f"a model of {setting} = {value} cannot be explained: only {text} can; train with "
                "that to ask why"
            )


@dataclass(frozen=True)
class Member:
    """A network's tensors by name, as a bundle stores them, in float32."""

    config: Resolved
    schema: Schema
    tensors: Mapping[str, Array]
    cell: str

    @cached_property
    def geometry(self) -> Geometry:
        """Where each recurrent step looks."""
        return Geometry.of(self.config)

    @cached_property
    def stack(self) -> Stack:
        """The encoder."""
        layers: list[Layer] = []
        norms: list[Norm | None] = []
        while f"encoder.layers.{len(layers)}.weight_ih_l0" in self.tensors:
            start = f"encoder.layers.{len(layers)}."
            own = {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}
            norm = f"encoder.norms.{len(layers)}."
            layers.append(layer_of(own, self.cell))
            weight = self.tensors.get(f"{norm}weight")
            norms.append(None if weight is None else Norm(weight, self.tensors[f"{norm}bias"]))
        return Stack(tuple(layers), tuple(norms), self.config.model.residual)

    def shares(self, batch: Batch[Array], level: Array, spread: Array, points: int) -> list[Shares]:
        """Of every series of an assembled batch, by so many points of the path.

        ``level``, ``spread`` : [N, S] of every recurrent step.
        """
        return [
            self._shares(self._inputs(one, level[i], spread[i]), one["y"].shape[1], points)
            for i, one in (
                (i, {k: v[i : i + 1] for k, v in named(batch).items()}) for i in range(len(level))
            )
        ]

    # -- inputs ----------------------------------------------------------------------------

    def _inputs(self, batch: Mapping[str, Array], level: Array, spread: Array) -> _Inputs:
        geometry, model, schema = self.geometry, self.config.model, self.schema
        y, mask = batch["y"][0].astype(np.float64), batch["mask"][0]
        rows, horizon = len(y), geometry.horizon
        ends = np.arange(geometry.reach - 1, rows, geometry.segment)
        row = ends[:, None] + shown_rows(geometry)
        values = (y[row] - level[:, None]) / spread[:, None]
        cycle, ahead_cycle = self.tensors.get("cycle"), np.zeros(horizon)
        if cycle is not None:
            values = values - cycle[(batch["phase"][0] + row) % len(cycle)]
            ahead_cycle = cycle[(batch["phase"][0] + rows + np.arange(horizon)) % len(cycle)]
        shown, marks = values * mask[row], mask[row[:, : geometry.window]]
        nothing = -2
        end, begin = [shown, marks], [np.zeros_like(shown), marks]
        owner = [np.full(shown.shape[1] + marks.shape[1], nothing)]
        time = batch.get("time") if model.calendar else None
        if time is not None:
            end.append(time[0][ends])
            begin.append(np.zeros_like(end[-1]))
            owner.append(np.full(end[-1].shape[1], SEASON))
        within = ends[:, None] + np.arange(1 - geometry.segment, 1)
        future = None
        for role in ("past", "future"):
            if schema.role(role):
                coded = self._coded(role, batch[role][0], batch[f"{role}_mask"][0])
                future = coded if role == "future" else future
                for side, of in ((begin, coded[0]), (end, coded[1])):
                    side.append(of[within].reshape(len(ends), -1))
                owner.append(np.tile(coded[2], geometry.segment))
        static = np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
        if schema.static:
            static = self._coded("static", batch["static"][0], batch["static_mask"][0])
            for side, of in ((begin, static[0]), (end, static[1])):
                side.append(np.broadcast_to(of, (len(ends), len(of))))
            owner.append(static[2])
        ahead = self._ahead(batch, future, ends[-1], time)
        return _Inputs(
            np.concatenate(begin, axis=1).astype(np.float32),
            np.concatenate(end, axis=1).astype(np.float32),
            row, np.concatenate(owner), *ahead, *static, ahead_cycle,
        )  # fmt: skip

    def _ahead(
        self, batch: Mapping[str, Array], future: Any, last: int, time: Array | None
    ) -> tuple[Array, Array, Array]:
        """What is known of the steps ahead, at both ends of the path, and whose it is."""
        horizon = self.geometry.horizon
        if future is None:
            return np.zeros((horizon, 0)), np.zeros((horizon, 0)), np.zeros(0, np.int64)
        index = last + 1 + np.arange(horizon)
        begin, end, owner = [future[0][index]], [future[1][index]], [future[2]]
        reals = [j for j, c in enumerate(self.schema.future) if c.type == "real"]
        if reals:
            values, mask = batch["future"][0][:, reals], batch["future_mask"][0][:, reals]
            back = last + np.arange(1 - self.geometry.scale_window, 1)
            count = np.maximum(mask[back].sum(axis=0), 1.0)
            usual = (values[back] * mask[back]).sum(axis=0) / count
            end.append((values[index] - usual) * mask[index])
            begin.append(np.zeros_like(end[-1]))
            first = self._first("future")
            owner.append(first + np.array(reals))
        if time is not None:
            end.append(time[0][index])
            begin.append(np.zeros_like(end[-1]))
            owner.append(np.full(end[-1].shape[1], SEASON))
        joined = (np.concatenate(part, axis=1).astype(np.float32) for part in (begin, end))
        return (*joined, np.concatenate(owner))  # type: ignore[return-value]

    def _coded(self, role: str, values: Array, mask: Array) -> tuple[Array, Array, Array]:
        """Features [..., F] of covariates [..., n] told nothing of and told, and [F] whose."""
        begin, end, owner = [], [], []
        first, unseen = self._first(role), self.config.training.unseen > 0.0
        for j, covariate in enumerate(self.schema.role(role)):
            column, known = values[..., j], mask[..., j]
            if covariate.type == "real":
                end.append(np.stack([column * known, known], axis=-1))
                begin.append(np.stack([np.zeros_like(known), known], axis=-1))
            else:
                codes = column.astype(np.int64)
                table = self._table(role, j, covariate, unseen)
                end.append(table[codes])
                begin.append(np.broadcast_to(table[0], end[-1].shape))
            owner.append(np.full(end[-1].shape[-1], first + j))
        return (
            np.concatenate(begin, axis=-1),
            np.concatenate(end, axis=-1),
            np.concatenate(owner),
        )

    def _table(self, role: str, j: int, covariate: Covariate, unseen: bool) -> Array:
        """[codes, features] of a category."""
        if covariate.encoding != "onehot":
            return self.tensors[f"{role}.tables.{j}.weight"]
        hot = np.eye(len(covariate.categories) + 1, dtype=np.float32)
        if not unseen:
            hot[0] = 0.0
        return hot

    def _first(self, role: str) -> int:
        """Place among all covariates of the first of a role."""
        roles = ("past", "future", "static")
        return sum(len(self.schema.role(r)) for r in roles[: roles.index(role)])

    # -- shares ----------------------------------------------------------------------------

    def _shares(self, inputs: _Inputs, rows: int, points: int) -> Shares:
        horizon, count = self.geometry.horizon, len(self.schema.covariates)
        out = np.zeros((horizon, rows + 1 + count))
        season, covariate = rows, rows + 1
        by_input, by_ahead, by_static = self._integrated(inputs, points)
        width = inputs.row.shape[1]
        parts = by_input * (inputs.end - inputs.begin)
        _add(out, inputs.row.ravel(), parts[:, :, :width].reshape(horizon, -1))
        place = np.where(inputs.owner == SEASON, season, covariate + inputs.owner)
        mask = inputs.owner >= SEASON
        _add(out, place[mask], parts[:, :, mask].sum(axis=1))
        for gradient, begin, end, owner in (
            (by_ahead, inputs.ahead_begin, inputs.ahead_end, inputs.ahead_owner),
            (by_static, inputs.static_begin, inputs.static_end, inputs.static_owner),
        ):
            if len(owner):
                place = np.where(owner == SEASON, season, covariate + owner)
                _add(out, place, gradient * (end - begin))
        if "skip.weight" in self.tensors:
            weight = self.tensors["skip.weight"]
            last = inputs.end[-1, :width]
            _add(out, inputs.row[-1], weight * last)
        if "skip_ahead.weight" in self.tensors:
            weight = self.tensors["skip_ahead.weight"][0]
            owner = inputs.ahead_owner
            place = np.where(owner == SEASON, season, covariate + owner)
            _add(out, place, weight * (inputs.ahead_end - inputs.ahead_begin))
        out[:, season] += inputs.cycle
        return Shares(out[:, :rows], out[:, season], out[:, covariate:])

    def _integrated(self, inputs: _Inputs, points: int) -> tuple[Array, Array, Array]:
        """Mean gradients of the H medians over the path: by input, by what is ahead, by static."""
        nodes, weights = _legendre(points)
        begin, end, tensors = inputs.begin, inputs.end, self.tensors
        embedding = tensors.get("embedding.weight")
        if embedding is not None:
            begin, end = (x @ embedding.T for x in (begin, end))
            begin = begin + tensors["embedding.bias"]
            end = end + tensors["embedding.bias"]
        gradients: dict[str, Array] = {}

        def last(hidden: Array) -> Array:
            by_hidden, by_static, by_ahead = self._decoded(hidden, inputs, nodes)
            gradients["static"] = np.tensordot(weights, by_static, axes=1)
            gradients["ahead"] = np.tensordot(weights, by_ahead, axes=1)
            return by_hidden

        by_drive, *beside = self.stack.gradients(begin, end - begin, nodes, last)
        by_input = np.tensordot(weights, by_drive, axes=(0, 1)) @ self.stack.layers[0].W
        if beside:
            by_input = by_input + np.tensordot(weights, beside[0], axes=(0, 1))
        if embedding is not None:
            by_input = by_input @ embedding
        return np.moveaxis(by_input, 0, 1), gradients["ahead"], gradients["static"]

    def _decoded(self, hidden: Array, inputs: _Inputs, nodes: Array) -> tuple[Array, Array, Array]:
        """Gradients of the H medians at hidden states [P, D]: by those, by static, by ahead."""
        tensors, horizon = self.tensors, self.geometry.horizon
        way = inputs.static_end - inputs.static_begin
        static = (inputs.static_begin + nodes[:, None] * way).astype(np.float32)
        joined = np.concatenate([hidden, static], axis=1)
        token = joined @ tensors["decoder.context.weight"].T + tensors["decoder.context.bias"]
        out = tensors["decoder.out.weight"]
        raw = out.shape[0] // (1 if "decoder.ahead.weight" in tensors else horizon)
        middle = raw // 2 if self.config.model.head == "quantiles" else 0
        if "decoder.ahead.weight" not in tensors:
            rows = out.reshape(horizon, raw, -1)[:, middle]
            by_token = rows * _gelu_slope(token)[:, None]
            by_ahead = np.zeros((len(nodes), horizon, 0), np.float32)
        else:
            between = inputs.ahead_end - inputs.ahead_begin
            ahead = inputs.ahead_begin + nodes[:, None, None] * between
            ahead = ahead.astype(np.float32) @ tensors["decoder.ahead.weight"].T
            inner = token[:, None] + tensors["decoder.position"]
            inner = inner + ahead + tensors["decoder.ahead.bias"]
            mix = tensors["decoder.mix.weight"]
            outer = inner + _gelu(inner) @ mix.T + tensors["decoder.mix.bias"]
            by_outer = out[middle] * _gelu_slope(outer)
            by_token = by_outer + (by_outer @ mix) * _gelu_slope(inner)
            by_ahead = by_token @ tensors["decoder.ahead.weight"]
        by_joined = by_token @ tensors["decoder.context.weight"]
        size = hidden.shape[1]
        return by_joined[..., :size], by_joined[..., size:], by_ahead


def _add(out: Array, place: Array, values: Array) -> None:
    """Add values [H, n] to the columns ``place`` [n] of ``out`` [H, ...], some more than once."""
    np.add.at(out.T, place, values.T)


def shown_rows(geometry: Geometry) -> Array:
    """[K + lags] the rows that a recurrent step is shown, counted from its last."""
    blocks = [np.arange(1 - geometry.window, 1)]
    for lag, width in zip(geometry.lags, geometry.lag_widths(), strict=True):
        blocks.append(np.arange(1 - lag, 1 - lag + width))
    return np.concatenate(blocks)


@lru_cache(maxsize=8)
def _legendre(points: int) -> tuple[Array, Array]:
    """Nodes and weights [P] of the integral from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return ((nodes + 1.0) / 2.0).astype(np.float32), (weights / 2.0).astype(np.float32)


def _phi(x: Array) -> Array:
    # SciPy takes a third of a second to import; only who asks why pays for it.
    from scipy import special

    return np.asarray(0.5 * (1.0 + special.erf(x / math.sqrt(2.0))))


def _gelu(x: Array) -> Array:
    return x * _phi(x)


def _gelu_slope(x: Array) -> Array:
    return np.asarray(_phi(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))
