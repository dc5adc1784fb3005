"""Index-only windows: the panel lies on the device once, a batch is one gather.

No window is ever stored, and no Python runs per window or per series. A batch is drawn by picking
series and origins at random, all on the device.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from forecasting import transforms
from forecasting.assemble import standardise, takes_centre, takes_unit
from forecasting.calendar import calendar_features, calendar_names, phase
from forecasting.config import ForecasterConfig
from forecasting.errors import TrainingError
from forecasting.geometry import Geometry
from forecasting.metrics import mase_scale
from forecasting.panel import Panel

Batch = dict[str, Tensor]


class Windows:
    """All training windows of a panel, by index.

    Parameters
    ----------
    panel : the history to train on, and only that.
    config : resolved configuration.
    device : where the data lies and batches are made.

    Raises
    ------
    TrainingError : when no series has two observations.
    """

    def __init__(self, panel: Panel, config: ForecasterConfig, device: torch.device) -> None:
        self.config, self.geometry = config, Geometry.of(config)
        self.calendar = len(calendar_names(panel.freq)) if config.model.calendar else 0
        t = transforms.forward(panel.y, config.model.transform or "identity")
        known, series = ~np.isnan(t), panel.series
        centre, unit = transforms.condition(
            t,
            known,
            series,
            len(panel),
            centred=takes_centre(config),
            scaled=takes_unit(config),
        )
        z = np.where(known, (t - centre[series]) / unit[series], 0.0)
        season = config.season or 1

        def put(values: object, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values)).to(device, dtype)

        self.y, self.mask = put(z), put(known)
        self.begin = put(panel.offsets[:-1], torch.int64)
        self.length = put(panel.lengths, torch.int64)
        self.centre, self.unit = put(centre), put(unit)
        self.loss_unit = put(_safe_scale(np.where(known, z, np.nan), panel.offsets, season))
        self.mase_unit = put(_safe_scale(panel.y, panel.offsets, season))
        self.start_phase = (
            put(phase(panel.start, panel.freq, config.model.cycle, panel.tz), torch.int64)
            if config.model.cycle
            else None
        )
        self.time = None
        if self.calendar:
            # One row of features per distinct stamp would save memory; one per row saves a gather.
            position = np.arange(panel.rows) - panel.offsets[series]
            stamps = panel.freq.shift(panel.start[series], position)
            self.time = put(calendar_features(stamps, panel.freq, panel.tz))
        self.covariates: dict[str, Tensor] = {}
        for name, block, columns in (
            ("past", panel.past, panel.schema.past),
            ("future", panel.future, panel.schema.future),
            ("static", panel.static, panel.schema.static),
        ):
            if columns:
                values, mask = standardise(block, columns)
                self.covariates[name], self.covariates[f"{name}_mask"] = put(values), put(mask)
        self.device = device
        self._find_origins(known, panel)

    def _find_origins(self, known: np.ndarray, panel: Panel) -> None:
        """Per series the first and last row that can be an origin, and how often it is drawn."""
        series = panel.series
        position = np.arange(panel.rows) - panel.offsets[series]
        last_known = np.full(len(panel), -1, np.int64)
        np.maximum.at(last_known, series[known], position[known])
        first_known = np.full(len(panel), np.iinfo(np.int64).max, np.int64)
        np.minimum.at(first_known, series[known], position[known])
        usable = np.flatnonzero(last_known > first_known)
        if len(usable) == 0:
            raise TrainingError(
                "no series has two observed values, so there is nothing to learn from; "
                "check the column mapping of y"
            )
        self.usable = torch.as_tensor(usable, device=self.device)
        self.usable_count = len(usable)
        final = last_known[usable] - 1
        # The last origin of a window usually has its whole horizon ahead of it; where the series
        # is short it may have less.
        whole = last_known[usable] - self.geometry.horizon
        full = (self.geometry.steps - 1) * self.geometry.segment + self.geometry.window
        low = np.minimum(np.maximum(first_known[usable], np.minimum(full, whole)), final)
        self.low = torch.as_tensor(low, device=self.device)
        self.high = torch.as_tensor(np.maximum(final, low), device=self.device)
        self.last_known = torch.as_tensor(last_known, device=self.device)
        weights = (final - low + 1).astype(np.float64)
        self.weights = torch.as_tensor(weights / weights.sum(), device=self.device)

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """A random batch of ``size`` windows."""
        if self.config.training.sampling == "windows":
            pick = torch.multinomial(self.weights, size, replacement=True, generator=generator)
        else:
            pick = torch.randint(
                self.usable_count, (size,), generator=generator, device=self.device
            )
        low, high = self.low[pick], self.high[pick]
        where = torch.rand(size, generator=generator, device=self.device)
        origin = low + (where * (high - low + 1)).long()
        return self.gather(self.usable[pick], origin)

    def gather(self, series: Tensor, origin: Tensor, *, padded: bool = False) -> Batch:
        """The windows of ``series`` [B] whose last origins are at rows ``origin`` [B].

        A short series begins with the window and leaves its later steps empty, so that every
        origin of it counts; when only the last origin does (``padded``, or origins = last) it ends
        with the window.

        Returns
        -------
        ``y``, ``mask`` [B, R + H] and covariates as the network takes them, with ``valid`` [B, S]
        (origins the loss may use), ``loss_unit``, ``mase_unit``, ``centre``, ``unit`` [B], and
        ``series`` [B].
        """
        geometry = self.geometry
        back = (geometry.steps - 1) * geometry.segment
        if self.config.training.origins == "all" and not padded:
            available = origin // geometry.segment * geometry.segment
            back_steps = torch.minimum(torch.full_like(origin, back), available)
        else:
            back_steps = torch.full_like(origin, back)
        first_end = origin - back_steps
        start = first_end - (geometry.reach - 1)
        offsets = torch.arange(geometry.rows + geometry.horizon, device=self.device)
        column = start[:, None] + offsets
        inside = (column >= 0) & (column < self.length[series, None])
        # Beyond its ends a series shows its own first or last row, masked; never a neighbour's.
        own = torch.minimum(column.clamp(min=0), self.length[series, None] - 1)
        row = self.begin[series, None] + own
        mask = self.mask[row] * inside
        batch: Batch = {"y": self.y[row] * mask, "mask": mask}
        history = row[:, : geometry.rows]
        if self.time is not None:
            batch["time"] = self.time[row]
        if self.start_phase is not None and self.config.model.cycle:
            batch["phase"] = (self.start_phase[series] + start) % self.config.model.cycle
        for name, values in self.covariates.items():
            if name.startswith("static"):
                batch[name] = values[series]
            else:
                at, ok = (history, inside[:, : geometry.rows]) if name.startswith("past") else (
                    row, inside)  # fmt: skip
                batch[name] = values[at] * ok[..., None]
        ends = first_end[:, None] + torch.arange(geometry.steps, device=self.device) * (
            geometry.segment
        )
        batch["valid"] = ((ends >= 0) & (ends < self.last_known[series, None])).to(self.y.dtype)
        batch["loss_unit"], batch["mase_unit"] = self.loss_unit[series], self.mase_unit[series]
        batch["centre"], batch["unit"] = self.centre[series], self.unit[series]
        batch["series"] = series
        return batch


class WindowStream(IterableDataset[Batch]):
    """Batches drawn from `Windows` by its own seeded generator; resumes where it stood."""

    def __init__(self, windows: Windows, batch_size: int, length: int, seed: int) -> None:
        self.windows, self.batch_size, self.length = windows, batch_size, length
        self.generator = torch.Generator(device=windows.device).manual_seed(seed)

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.length):
            yield self.windows.draw(self.batch_size, self.generator)

    def __len__(self) -> int:
        return self.length


def _safe_scale(values: np.ndarray, offsets: np.ndarray, season: int) -> np.ndarray:
    """Seasonal differences' mean, else plain differences', else 1."""
    scale = mase_scale(values, offsets, season)
    if season > 1:
        plain = mase_scale(values, offsets, 1)
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, plain)
    return np.asarray(np.where(np.isfinite(scale) & (scale > 0), scale, 1.0))
