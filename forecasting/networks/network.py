"""The whole network: causal scaling, embedding, recurrent stack, decoder, head."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.config import ForecasterConfig, Schema
from forecasting.networks.covariates import CovariateEncoder
from forecasting.networks.decoders import DirectDecoder, StateDecoder
from forecasting.networks.heads import Head, sample
from forecasting.networks.recurrent import Dropout, RecurrentStack, States
from forecasting.networks.scaling import Scale, causal_scale
from forecasting.quantiles import normal_scores
from forecasting.windows.geometry import Geometry

Batch = dict[str, Tensor]

# Origins of one window at which an encoder-decoder is trained; its decoder runs from each.
DECODED_ORIGINS = 4


class Output(NamedTuple):
    """Forecasts at O origins of each window.

    Attributes
    ----------
    params : [B, O, H, D] of the head, in units of ``scale`` about ``level``.
    level, scale : [B, O, 1].
    origins : [O] int64, the recurrent step each was made at.
    """

    params: Tensor
    level: Tensor
    scale: Tensor
    origins: Tensor


class ForecastNetwork(nn.Module):
    """One member: from windows of conditioned values to distribution parameters.

    Parameters
    ----------
    config : resolved configuration. schema : the covariates. calendar : columns of ``time``.
    """

    def __init__(self, config: ForecasterConfig, schema: Schema, calendar: int) -> None:
        super().__init__()
        self.config, self.schema = config, schema
        self.geometry = geometry = Geometry.of(config)
        model = config.model
        size = model.embedding_size
        self.past = CovariateEncoder(schema.past, size) if schema.past else None
        self.future = CovariateEncoder(schema.future, size) if schema.future else None
        self.static = CovariateEncoder(schema.static, size) if schema.static else None
        self.calendar = calendar if model.calendar else 0
        self.cycle = nn.Parameter(torch.zeros(model.cycle)) if model.cycle else None
        future = self.future.size if self.future else 0
        shown = geometry.window + sum(geometry.lag_widths())
        context = self.static.size if self.static else 0
        inputs = shown + geometry.window + self.calendar + context
        inputs += geometry.segment * ((self.past.size if self.past else 0) + future)
        embeds = model.embedding if model.embedding is not None else geometry.window > 1
        self.embedding = nn.Linear(inputs, model.hidden_size) if embeds else None
        width = model.hidden_size
        self.encoder = RecurrentStack(width if embeds else inputs, model)
        self.head = Head(model)
        # Known-future features: the covariates, the change of real ones against the window, the
        # calendar.
        self.amounts = [j for j, c in enumerate(schema.future) if c.type == "real"]
        self.ahead = future + len(self.amounts) + self.calendar if future else 0
        horizon = 1 if model.decoder == "recursive" else geometry.horizon
        self.decoder: DirectDecoder | StateDecoder
        if model.decoder == "encoder_decoder":
            ahead = self.ahead or self.calendar
            self.decoder = StateDecoder(width, ahead, context, horizon, self.head.size, model)
        else:
            self.decoder = DirectDecoder(
                width + context, self.ahead, horizon, self.head.size, model
            )
        self.skip = self._seasonal_skip(shown, horizon) if model.skip else None
        self.skip_ahead = nn.Linear(self.ahead, 1, bias=False) if self.ahead else None
        if self.skip_ahead is not None:
            nn.init.zeros_(self.skip_ahead.weight)
        if model.decoder == "recursive":
            self.register_buffer("draws", _stratified(model.samples, geometry.horizon))

    # -- pieces ----------------------------------------------------------------------------

    def _seasonal_skip(self, shown: int, horizon: int) -> nn.Linear:
        """Starts as seasonal naive: the mean of a window's last and first season at the phase."""
        skip = nn.Linear(shown, horizon)
        geometry, season = self.geometry, self.config.season or 1
        with torch.no_grad():
            skip.weight.zero_()
            skip.bias.zero_()
            counts = self.config.model.head == "negative_binomial"
            if not counts and (season > 1 or self.config.model.level == "last"):
                whole = max(geometry.window // season, 1)
                for k in range(horizon):
                    # The last season and, in a window of many, the one that begins it: a week
                    # ago as well as yesterday.
                    seasons = [
                        geometry.window - season * back + k % season
                        for back in dict.fromkeys((1, whole))
                    ]
                    seasons = [s for s in seasons if 0 <= s < geometry.window]
                    for position in seasons:
                        skip.weight[k, position] = 1.0 / len(seasons)
        return skip

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Where dropout draws from in training; None: torch's own."""
        for part in self.modules():
            if isinstance(part, Dropout):
                part.generator = generator

    def history(self, batch: Batch) -> Batch:
        """A training batch as the network may see it: y and mask [B, R] end with the history."""
        rows = self.geometry.rows
        return {**batch, "y": batch["y"][:, :rows], "mask": batch["mask"][:, :rows]}

    def features(self, batch: Batch) -> tuple[Tensor, Tensor, Scale]:
        """Inputs of every recurrent step.

        Returns
        -------
        x : [B, S, features]; shown : [B, S, K + lags] scaled values for the linear skip;
        scale : level and spread at every step, [B, S, 1].
        """
        y, mask = batch["y"], batch["mask"]
        geometry = self.geometry
        ends = self._ends(y.shape[1], y.device)
        scale = causal_scale(y, mask, ends, geometry, self.config.model)
        index = ends[:, None] + torch.arange(1 - geometry.window, 1, device=y.device)
        blocks = [index]
        for lag, width in zip(geometry.lags, geometry.lag_widths(), strict=True):
            blocks.append(ends[:, None] + torch.arange(1 - lag, 1 - lag + width, device=y.device))
        index = torch.cat(blocks, dim=1) if len(blocks) > 1 else index
        observed = _gather(mask, index)
        values = (_gather(y, index) - scale.level) / scale.spread
        if self.cycle is not None:
            phase = (batch["phase"][:, None, None] + index) % self.cycle.shape[0]
            values = values - self.cycle[phase]
        shown = values * observed
        parts = [shown, observed[..., : geometry.window]]
        if self.calendar:
            parts.append(batch["time"][:, ends])
        segment = ends[:, None] + torch.arange(1 - geometry.segment, 1, device=y.device)
        for name, encoder in (("past", self.past), ("future", self.future)):
            if encoder is not None:
                encoded = encoder(batch[name], batch[f"{name}_mask"])
                parts.append(_gather(encoded, segment).flatten(2))
        if self.static is not None:
            static = self.static(batch["static"], batch["static_mask"])
            parts.append(static[:, None].expand(-1, shown.shape[1], -1))
        return torch.cat(parts, dim=-1), shown, scale

    def read(self, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """All hidden states [B, S, D] of inputs ``x``, and the final states."""
        if self.embedding is not None:
            x = self.embedding(x)
        hidden, states = self.encoder(x, states)
        return hidden, states

    def horizon_features(self, batch: Batch, origins: Tensor, horizon: int) -> Tensor | None:
        """What is known of the steps ahead of each origin, [B, O, H, F], or None."""
        wants_time = self.calendar and (self.ahead or self.config.model.decoder != "direct")
        if self.future is None and not wants_time:
            return None
        ends = origins * self.geometry.segment + (self.geometry.reach - 1)
        index = ends[:, None] + torch.arange(1, horizon + 1, device=ends.device)
        parts = []
        if self.future is not None:
            values, known = batch["future"], batch["future_mask"]
            parts.append(_gather(self.future(values, known), index))
            if self.amounts:
                values, known = values[..., self.amounts], known[..., self.amounts]
                back = ends[:, None] + torch.arange(
                    1 - self.geometry.scale_window, 1, device=ends.device
                )
                seen = _gather(known, back)
                usual = (_gather(values, back) * seen).sum(2) / seen.sum(2).clamp(min=1.0)
                ahead_known = _gather(known, index)
                parts.append((_gather(values, index) - usual[:, :, None]) * ahead_known)
        if self.calendar:
            parts.append(_gather(batch["time"], index))
        return torch.cat(parts, dim=-1)

    # -- the whole -------------------------------------------------------------------------

    def forward(self, batch: Batch, *, every_origin: bool = False) -> Output:
        """Forecasts at the last origin, or at every origin of each window."""
        x, shown, scale = self.features(batch)
        steps = x.shape[1]
        last = torch.arange(steps, device=x.device)[steps - 1 :]
        if self.config.model.decoder == "encoder_decoder":
            pieces = min(DECODED_ORIGINS, int(steps)) if every_origin else 1
            return self._decode_states(batch, x, shown, scale, pieces)
        hidden, states = self.read(x)
        if self.config.model.decoder == "recursive" and not every_origin:
            return self._sample_paths(batch, hidden[:, -1:], states)
        origins = torch.arange(steps, device=x.device) if every_origin else last
        if not every_origin:
            hidden, shown, scale = hidden[:, -1:], shown[:, -1:], scale.at(slice(-1, None))
        params = self._decode(batch, hidden, shown, origins)
        return Output(params, scale.level, scale.spread, origins)

    def _decode(self, batch: Batch, hidden: Tensor, shown: Tensor, origins: Tensor) -> Tensor:
        assert isinstance(self.decoder, DirectDecoder)
        ahead = self.horizon_features(batch, origins, self.decoder.horizon) if self.ahead else None
        if self.static is not None:
            static = self.static(batch["static"], batch["static_mask"])
            expanded = static[:, None].expand(-1, hidden.shape[1], -1)
            hidden = torch.cat([hidden, expanded], dim=-1)
        raw = self.decoder(hidden, ahead)
        params: Tensor = self.head(raw, self._skip(batch, shown, ahead, origins, raw))
        return params

    def _skip(
        self, batch: Batch, shown: Tensor, ahead: Tensor | None, origins: Tensor, raw: Tensor
    ) -> Tensor:
        value = self.skip(shown) if self.skip is not None else torch.zeros_like(raw[..., 0])
        if self.skip_ahead is not None and ahead is not None:
            value = value + self.skip_ahead(ahead)[..., 0]
        if self.cycle is not None:
            ends = origins * self.geometry.segment + self.geometry.reach
            index = ends[:, None] + torch.arange(raw.shape[2], device=raw.device)
            value = value + self.cycle[(batch["phase"][:, None, None] + index) % len(self.cycle)]
        return value

    def _decode_states(
        self, batch: Batch, x: Tensor, shown: Tensor, scale: Scale, pieces: int
    ) -> Output:
        """Read the window in pieces; at the end of each the decoder takes the states over."""
        assert isinstance(self.decoder, StateDecoder)
        steps, count = x.shape[1], x.shape[0]
        horizon = self.geometry.horizon
        static = None
        if self.static is not None:
            static = self.static(batch["static"], batch["static_mask"])
        if pieces == 1:
            bounds = torch.arange(steps, device=x.device)[steps - 1 :]
            cuts = [(0, steps)]
        else:
            stops = [steps * (k + 1) // pieces for k in range(pieces)]
            cuts = list(zip([0, *stops[:-1]], stops, strict=True))
            bounds = torch.arange(1, pieces + 1, device=x.device) * steps // pieces - 1
        ahead = self.horizon_features(batch, bounds, horizon)
        states: States | None = None
        raws = []
        for piece, (begin, end) in enumerate(cuts):
            _, states = self.read(x[:, begin:end] if pieces > 1 else x, states)
            raws.append(
                self.decoder(states, None if ahead is None else ahead[:, piece], static, count)
            )
        raw = torch.stack(raws, dim=1)
        scale = scale.at(bounds)
        skip = self._skip(batch, shown[:, bounds], ahead if self.ahead else None, bounds, raw)
        return Output(self.head(raw, skip), scale.level, scale.spread, bounds)

    def _sample_paths(self, batch: Batch, hidden: Tensor, states: States) -> Output:
        """Feed back drawn values, one step at a time, along many paths.

        The draws are stratified and the same for every series: a forecast depends on nothing
        but its own history. Returns the paths' quantiles at the head's levels.
        """
        reach, horizon = self.geometry.reach, self.geometry.horizon
        paths, count = self.config.model.samples, batch["y"].shape[0]
        rows = batch["y"].shape[1]
        only = torch.zeros(1, dtype=torch.int64, device=batch["y"].device)
        y = batch["y"][:, rows - reach :].repeat_interleave(paths, dim=0)
        mask = batch["mask"][:, rows - reach :].repeat_interleave(paths, dim=0)
        hidden = hidden.repeat_interleave(paths, dim=0)
        states = tuple(
            tuple(part.repeat_interleave(paths, dim=1) for part in state) for state in states
        )
        repeated = {
            name: value.repeat_interleave(paths, dim=0)
            for name, value in batch.items()
            if name not in ("y", "mask")
        }
        draws: Tensor = self.draws  # type: ignore[assignment]
        drawn = []
        for k in range(horizon):
            window = self._window(repeated, y, mask, rows - reach + k)
            x, shown, scale = self.features(window)
            if k:
                hidden, states = self.read(x, states)
            params = self._decode(window, hidden, shown, only)
            value = sample(params[:, 0, 0], draws[k].repeat(count), self.head)
            value = value * scale.spread[:, 0, 0] + scale.level[:, 0, 0]
            drawn.append(value)
            y = torch.cat([y[:, 1:], value[:, None]], dim=1)
            mask = torch.cat([mask[:, 1:], torch.ones_like(value[:, None])], dim=1)
        values = torch.stack(drawn, dim=1).reshape(count, paths, horizon).sort(dim=1).values
        levels = torch.tensor(self.config.model.quantile_levels, device=y.device)
        position = levels * paths - 0.5
        below = position.floor().clamp(0, paths - 2).long()
        share = (position - below).clamp(0.0, 1.0)[:, None]
        quantiles = values[:, below] * (1.0 - share) + values[:, below + 1] * share
        params = quantiles.transpose(1, 2)[:, None]
        zero = torch.zeros_like(params[:, :, 0, :1])
        last = torch.arange(1, device=y.device)
        return Output(params, zero, zero + 1.0, last)

    def _window(self, repeated: Batch, y: Tensor, mask: Tensor, begin: int) -> Batch:
        """The batch as it stands ``begin`` rows into the window, ``reach`` rows long."""
        reach = self.geometry.reach
        window: Batch = {"y": y, "mask": mask}
        for name, value in repeated.items():
            if name in ("time", "future", "future_mask"):
                window[name] = value[:, begin : begin + reach + 1]
            elif name in ("past", "past_mask"):
                # Past covariates end with the history: beyond it they are missing.
                gone = value.new_zeros(value.shape[0], self.geometry.horizon, value.shape[2])
                window[name] = torch.cat([value, gone], dim=1)[:, begin : begin + reach]
            elif name == "phase":
                window[name] = value + begin
            else:
                window[name] = value
        return window

    def _ends(self, rows: int, device: torch.device) -> Tensor:
        """[S] position of each recurrent step's last value in a window of ``rows``."""
        return torch.arange(self.geometry.reach - 1, rows, self.geometry.segment, device=device)


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """``values`` [B, R, ...] at ``index`` [S, K] along time: [B, S, K, ...]."""
    return values[:, index]


def _stratified(paths: int, horizon: int) -> Tensor:
    """[H, paths] standard normal draws: each step has one in every stratum, in shuffled order."""
    generator = torch.Generator().manual_seed(20_181)
    order = torch.stack([torch.randperm(paths, generator=generator) for _ in range(horizon)])
    scores = normal_scores((np.arange(paths) + 0.5) / paths)
    return torch.tensor(scores, dtype=torch.float32)[order]
