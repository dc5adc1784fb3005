"""The whole network: causal scaling, embedding, recurrent stack, decoder, head."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from forecasting.networks.covariates import CovariateEncoder
from forecasting.networks.decoders import DECODERS, Decoder
from forecasting.networks.heads import HEADS, Head
from forecasting.networks.output import Output
from forecasting.networks.paths import sample_paths, stratified_draws
from forecasting.networks.recurrent import Dropout, RecurrentStack, States
from forecasting.networks.scaling import Scale, causal_scale
from forecasting.parts import DECODERS as ABOUT_DECODERS
from forecasting.resolved import Resolved
from forecasting.schema import Covariate, Schema
from forecasting.windows.batch import Batch, cut, history, named
from forecasting.windows.geometry import Geometry

# Origins of one window at which an encoder-decoder is trained; its decoder runs from each.
DECODED_ORIGINS = 4


class ForecastNetwork(nn.Module):
    """One member: from windows of conditioned values to distribution parameters.

    Parameters
    ----------
    config : resolved configuration. schema : the covariates. calendar : columns of ``time``.
    """

    def __init__(self, config: Resolved, schema: Schema, calendar: int) -> None:
        super().__init__()
        self.config, self.schema = config, schema
        self.geometry = geometry = Geometry.of(config)
        model = config.model
        self.past = self._covariates(schema.past)
        self.future = self._covariates(schema.future)
        self.static = self._covariates(schema.static)
        self.calendar = calendar if model.calendar else 0
        self.cycle = nn.Parameter(torch.zeros(model.cycle)) if model.cycle else None
        future = self.future.size if self.future else 0
        values = geometry.window + sum(geometry.lag_widths())
        context = self.static.size if self.static else 0
        inputs = values + geometry.window + self.calendar + context
        inputs += geometry.segment * ((self.past.size if self.past else 0) + future)
        embeds = model.embedding
        self.embedding = nn.Linear(inputs, model.hidden_size) if embeds else None
        width = model.hidden_size
        self.encoder = RecurrentStack(width if embeds else inputs, model)
        self.head: Head = HEADS[model.head](model)
        # Known-future features: the covariates, the change of real ones against the window, the
        # calendar.
        # A buffer, which travels with the weights: a list would go to the device at every step.
        self.amounts: Tensor
        amounts = [j for j, c in enumerate(schema.future) if c.type == "real"]
        self.register_buffer("amounts", torch.tensor(amounts, dtype=torch.long), persistent=False)
        self.ahead = future + len(self.amounts) + self.calendar if future else 0
        decoder = DECODERS[model.decoder]
        # Without covariates known ahead only a decoder that asks for it is told the calendar.
        self.looks_ahead = self.ahead or (self.calendar if decoder.reads_calendar else 0)
        self.decoder: Decoder = decoder(
            width, self.looks_ahead, context, geometry.horizon, self.head.size, model
        )
        self.takes_states = ABOUT_DECODERS[model.decoder].takes_states
        self.skip = self._seasonal_skip(values, self.decoder.horizon) if model.skip else None
        self.skip_ahead = nn.Linear(self.ahead, 1, bias=False) if self.ahead else None
        if self.skip_ahead is not None:
            nn.init.zeros_(self.skip_ahead.weight)
        self.draws: Tensor
        if self.config.model.feeds_back:
            self.register_buffer("draws", stratified_draws(model.samples, geometry.horizon))

    # -- pieces ----------------------------------------------------------------------------

    def _covariates(self, covariates: tuple[Covariate, ...]) -> CovariateEncoder | None:
        """What encodes the covariates of one role; None where there are none."""
        size, unseen = self.config.model.embedding_size, self.config.training.unseen > 0.0
        return CovariateEncoder(covariates, size, unseen=unseen) if covariates else None

    def _seasonal_skip(self, shown: int, horizon: int) -> nn.Linear:
        """Starts as seasonal naive: the mean of a window's last and first season at the phase."""
        skip = nn.Linear(shown, horizon)
        geometry, season = self.geometry, self.config.season
        with torch.no_grad():
            skip.weight.zero_()
            skip.bias.zero_()
            if not self.config.model.counts and (season > 1 or self.config.model.level == "last"):
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

    def history(self, batch: Batch[Tensor]) -> Batch[Tensor]:
        """A training batch as the network may see it: y and mask [B, R] end with the history."""
        return history(batch, self.geometry.rows)

    def features(self, batch: Batch[Tensor]) -> tuple[Tensor, Tensor, Scale]:
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
                encoded = encoder(named(batch)[name], named(batch)[f"{name}_mask"])
                parts.append(_gather(encoded, segment).flatten(2))
        static = self._static(batch)
        if static is not None:
            parts.append(static[:, None].expand(-1, shown.shape[1], -1))
        return torch.cat(parts, dim=-1), shown, scale

    def read(self, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """All hidden states [B, S, D] of inputs ``x``, and the final states."""
        if self.embedding is not None:
            x = self.embedding(x)
        hidden, states = self.encoder(x, states)
        return hidden, states

    def horizon_features(
        self, batch: Batch[Tensor], origins: Tensor, horizon: int
    ) -> Tensor | None:
        """What is known of the steps ahead of each origin, [B, O, H, F], or None."""
        if not self.looks_ahead:
            return None
        ends = origins * self.geometry.segment + (self.geometry.reach - 1)
        index = ends[:, None] + torch.arange(1, horizon + 1, device=ends.device)
        parts = []
        if self.future is not None:
            values, mask = batch["future"], batch["future_mask"]
            parts.append(_gather(self.future(values, mask), index))
            if len(self.amounts):
                values, mask = values[..., self.amounts], mask[..., self.amounts]
                back = ends[:, None] + torch.arange(
                    1 - self.geometry.scale_window, 1, device=ends.device
                )
                seen = _gather(mask, back)
                usual = (_gather(values, back) * seen).sum(2) / seen.sum(2).clamp(min=1.0)
                ahead_known = _gather(mask, index)
                parts.append((_gather(values, index) - usual[:, :, None]) * ahead_known)
        if self.calendar:
            parts.append(_gather(batch["time"], index))
        return torch.cat(parts, dim=-1)

    # -- the whole -------------------------------------------------------------------------

    def forward(
        self, batch: Batch[Tensor], *, every_origin: bool = False, drawn: Tensor | None = None
    ) -> Output:
        """Forecasts at the last origin of each window, at every one, or at those ``drawn`` [O]."""
        x, shown, scale = self.features(batch)
        steps = x.shape[1]
        if every_origin and self.takes_states:
            return self._in_pieces(batch, x, shown, scale)
        hidden, states = self.read(x)
        if drawn is not None:
            at = scale.at(drawn)
            params = self.decode(batch, hidden[:, drawn], states, shown[:, drawn], drawn)
            return Output(params, at.level, at.spread, drawn)
        origins = torch.arange(steps, device=x.device)
        if every_origin:
            params = self.decode(batch, hidden, states, shown, origins)
            return Output(params, scale.level, scale.spread, origins)
        if self.config.model.feeds_back:
            return sample_paths(self, batch, hidden[:, -1:], states, self.draws)
        last = origins[steps - 1 :]
        # A view and a copy are summed up in another order: each as its models always were.
        shown = shown[:, last] if self.takes_states else shown[:, -1:]
        params = self.decode(batch, hidden[:, -1:], states, shown, last)
        return Output(params, scale.level[:, -1:], scale.spread[:, -1:], last)

    def finish(self, batch: Batch[Tensor], hidden: Tensor, states: States) -> Output:
        """The forecast at the last origin of histories that are read already.

        Parameters
        ----------
        batch : of any number of recurrent steps; what lies before the last is not looked at.
        hidden : [B, 1, D] the last hidden state. states : the final ones of every layer.
        """
        rows = batch["y"].shape[1]
        batch = cut(batch, rows - self.geometry.reach, rows)
        if self.config.model.feeds_back:
            return sample_paths(self, batch, hidden, states, self.draws)
        _, shown, scale = self.features(batch)
        last = torch.zeros(1, dtype=torch.int64, device=shown.device)
        params = self.decode(batch, hidden, states, shown, last)
        return Output(params, scale.level, scale.spread, last)

    def decode(
        self, batch: Batch[Tensor], hidden: Tensor, states: States, shown: Tensor, origins: Tensor
    ) -> Tensor:
        """Parameters [B, O, H, D] at the recurrent steps ``origins`` [O].

        Parameters
        ----------
        hidden : [B, O, D]. shown : [B, O, K + lags]. states : of the last origin; a decoder that
            takes them over is asked for one origin at a time.
        """
        ahead = self.horizon_features(batch, origins, self.decoder.horizon)
        static = self._static(batch)
        raw = self.decoder(hidden, states, ahead, static)
        params: Tensor = self.head(raw, self._skip(batch, shown, ahead, origins, raw))
        return params

    def _static(self, batch: Batch[Tensor]) -> Tensor | None:
        """[B, C] what is told of each series."""
        if self.static is None:
            return None
        static: Tensor = self.static(batch["static"], batch["static_mask"])
        return static

    def _skip(
        self,
        batch: Batch[Tensor],
        shown: Tensor,
        ahead: Tensor | None,
        origins: Tensor,
        raw: Tensor,
    ) -> Tensor:
        """[B, O, H] the linear path to the middle of the forecast."""
        value = self.skip(shown) if self.skip is not None else torch.zeros_like(raw[..., 0])
        if self.skip_ahead is not None and ahead is not None:
            value = value + self.skip_ahead(ahead)[..., 0]
        if self.cycle is not None:
            ends = origins * self.geometry.segment + self.geometry.reach
            index = ends[:, None] + torch.arange(raw.shape[2], device=raw.device)
            value = value + self.cycle[(batch["phase"][:, None, None] + index) % len(self.cycle)]
        return value

    def _in_pieces(self, batch: Batch[Tensor], x: Tensor, shown: Tensor, scale: Scale) -> Output:
        """Read the window in pieces; at the end of each the decoder takes the states over."""
        steps = int(x.shape[1])
        pieces = min(DECODED_ORIGINS, steps)
        stops = [steps * (k + 1) // pieces for k in range(pieces)]
        # Made on the device: a copy from the host can't be captured in a CUDA graph.
        origins = torch.arange(1, pieces + 1, device=x.device) * steps // pieces - 1
        ahead = self.horizon_features(batch, origins, self.decoder.horizon)
        static = self._static(batch)
        states: States | None = None
        raws = []
        for k, (begin, end) in enumerate(pairwise([0, *stops])):
            hidden, states = self.read(x[:, begin:end], states)
            of_step = None if ahead is None else ahead[:, k : k + 1]
            raws.append(self.decoder(hidden[:, -1:], states, of_step, static))
        raw = torch.cat(raws, dim=1)
        params = self.head(raw, self._skip(batch, shown[:, origins], ahead, origins, raw))
        at = scale.at(origins)
        return Output(params, at.level, at.spread, origins)

    def _ends(self, rows: int, device: torch.device) -> Tensor:
        """[S] position of each recurrent step's last value in a window of ``rows``."""
        return torch.arange(self.geometry.reach - 1, rows, self.geometry.segment, device=device)


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """``values`` [B, R, ...] at ``index`` [S, K] along time: [B, S, K, ...]."""
    return values[:, index]
