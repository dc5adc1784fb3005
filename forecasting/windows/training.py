"""Index-only windows: the panel lies in memory once, a batch is one gather.

No window is ever stored, and no Python runs per window or per series. A batch is drawn by picking
series and origins at random where the data lies.

On the CPU the panel's own array is read in place, memory-mapped or not: nothing is copied, and
transform and conditioning are done on the values of the batch. On a GPU the conditioned values lie
on the device as float32; a panel too large for it stays in the host's memory, and only batches
travel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from forecasting.arrays import Array
from forecasting.data.calendar import calendar_features, calendar_names, phase
from forecasting.data.mapped import blocks
from forecasting.data.panel import Panel
from forecasting.data.scale import typical_step
from forecasting.errors import TrainingError
from forecasting.hardware.switches import no_warnings
from forecasting.resolved import Resolved
from forecasting.windows.batch import TIME, Batch, batch_of, each
from forecasting.windows.conditioning import condition
from forecasting.windows.geometry import Geometry
from forecasting.windows.prediction import standardise, takes_centre, takes_unit

# Share of a GPU's free memory that the panel may fill; a larger one stays with the host.
RESIDENT_SHARE = 0.5
# Share of the windows that end among recent rows, where some are told.
RECENT_SHARE = 0.5


class Windows:
    """All training windows of a panel, by index.

    Parameters
    ----------
    panel : the history to train on, and only that.
    config : resolved configuration.
    device : where batches are wanted.
    home : where the data lies and batches are drawn; default: the device, if the panel fits.
    recent : rows at the end of each series in which half of the windows drawn end; 0: none do so.

    Raises
    ------
    TrainingError : when no series has two observations.
    """

    def __init__(
        self,
        panel: Panel,
        config: Resolved,
        device: torch.device,
        home: torch.device | None = None,
        *,
        recent: int = 0,
    ) -> None:
        self.config, self.geometry, self.recent = config, Geometry.of(config), recent
        self.device, self.home = device, home or _home(panel, config, device)
        self.ids = panel.ids
        self.calendar = len(calendar_names(panel.freq)) if config.model.calendar else 0
        self.transform = config.model.y_transform
        statistics = _statistics(panel, config)
        self.begin = self._put(panel.offsets[:-1], torch.int64)
        self.length = self._put(panel.lengths, torch.int64)
        self.centre, self.unit = self._put(statistics["centre"]), self._put(statistics["unit"])
        self.loss_unit = self._put(statistics["loss_unit"])
        self.mase_unit = self._put(statistics["mase_unit"])
        self.exact: tuple[Tensor, Tensor] | None = None
        if self.home.type == "cpu":
            self.y = _shared(panel.y)
            self.exact = _shared(statistics["centre"]), _shared(statistics["unit"])
        else:
            self.y = self._conditioned(panel, statistics)
        self.start_phase = (
            self._put(phase(panel.start, panel.freq, config.model.cycle, panel.tz), torch.int64)
            if config.model.cycle
            else None
        )
        self.time: Tensor | None = None
        if self.calendar:
            features, first = _calendar(panel)
            self.time, self.time_begin = self._put(features), self._put(first, torch.int64)
        self.covariates: dict[str, Tensor] = {}
        for name, block, columns in (
            ("past", panel.past, panel.schema.past),
            ("future", panel.future, panel.schema.future),
            ("static", panel.static, panel.schema.static),
        ):
            if columns:
                values, mask = standardise(block, columns)
                self.covariates[name] = self._put(values)
                self.covariates[f"{name}_mask"] = self._put(mask > 0, torch.bool)
        self._find_origins(statistics["first_known"], statistics["last_known"])

    def _put(self, values: Array, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(self.home, dtype)

    def _conditioned(self, panel: Panel, statistics: dict[str, Array]) -> Tensor:
        """[T] float32 on a GPU, NaN where missing; sent block by block."""
        out = torch.empty(panel.rows, device=self.home)
        for first, last in blocks(panel.offsets):
            begin, end = panel.offsets[first], panel.offsets[last]
            sizes = panel.lengths[first:last]
            centre, unit = (np.repeat(statistics[k][first:last], sizes) for k in ("centre", "unit"))
            t = self.transform.forward(panel.y[begin:end])
            out[begin:end] = torch.as_tensor(((t - centre) / unit).astype(np.float32))
        return out

    def _find_origins(self, first_known: Array, last_known: Array) -> None:
        """Per series the first and last row that can be an origin, and how often it is drawn."""
        usable = np.flatnonzero(last_known > first_known)
        if len(usable) == 0:
            raise TrainingError(
                "no series has two observed values, so there is nothing to learn from; "
                "check the column mapping of y"
            )
        self.usable = self._put(usable, torch.int64)
        self.usable_count = len(usable)
        final = last_known[usable] - 1
        # The last origin of a window usually has its whole horizon ahead of it; where the series
        # is short it may have less.
        whole = last_known[usable] - self.geometry.horizon
        full = (self.geometry.steps - 1) * self.geometry.segment + self.geometry.window
        low = np.minimum(np.maximum(first_known[usable], np.minimum(full, whole)), final)
        self.low = self._put(low, torch.int64)
        self.high = self._put(np.maximum(final, low), torch.int64)
        self.last_known = self._put(last_known, torch.int64)
        origins = np.cumsum(final - low + 1)
        self.origins_up_to = self._put(origins, torch.int64)
        self.origin_count = int(origins[-1])

    def draw(self, size: int, generator: torch.Generator) -> Batch[Tensor]:
        """A random batch of ``size`` windows."""
        if self.config.training.sampling == "windows":
            number = torch.randint(
                self.origin_count, (size,), generator=generator, device=self.home
            )
            pick = torch.searchsorted(self.origins_up_to, number, right=True)
        else:
            pick = torch.randint(self.usable_count, (size,), generator=generator, device=self.home)
        low, high = self.low[pick], self.high[pick]
        if self.recent:
            new = torch.rand(size, generator=generator, device=self.home) < RECENT_SHARE
            low = torch.where(new, torch.maximum(low, high - self.recent + 1), low)
        where = torch.rand(size, generator=generator, device=self.home)
        origin = low + (where * (high - low + 1)).long()
        return self.gather(self.usable[pick], origin)

    def gather(self, series: Tensor, origin: Tensor, *, padded: bool = False) -> Batch[Tensor]:
        """The windows of ``series`` [B] whose last origins are at rows ``origin`` [B].

        A short series begins with the window and leaves its later steps empty, so that every
        origin of it counts; when only the last origin does (``padded``, or origins = last) it ends
        with the window.

        Returns
        -------
        Every entry of `Batch` that the model has a use for, y and mask over the horizon too, on
        ``device``.
        """
        geometry = self.geometry
        back = (geometry.steps - 1) * geometry.segment
        filled: Tensor | None = None
        if self.config.training.origins == "all" and not padded:
            available = origin // geometry.segment * geometry.segment
            back_steps = torch.minimum(torch.full_like(origin, back), available)
        else:
            back_steps = torch.full_like(origin, back)
            filled = torch.clamp(origin // geometry.segment + 1, max=geometry.steps)
        first_end = origin - back_steps
        start = first_end - (geometry.reach - 1)
        offsets = torch.arange(geometry.rows + geometry.horizon, device=self.home)
        column = start[:, None] + offsets
        inside = (column >= 0) & (column < self.length[series, None])
        # Beyond its ends a series shows its own first or last row, masked; never a neighbour's.
        own = torch.minimum(column.clamp(min=0), self.length[series, None] - 1)
        row = self.begin[series, None] + own
        y, mask = self._values(series, row, inside)
        batch = {"y": y, "mask": mask}
        if self.time is not None:
            batch["time"] = self.time[self.time_begin[series, None] + own]
        if self.start_phase is not None and self.config.model.cycle:
            batch["phase"] = (self.start_phase[series] + start) % self.config.model.cycle
        for name, values in self.covariates.items():
            if name not in TIME:
                batch[name] = values[series].float()
                continue
            length = geometry.rows if TIME[name] == "rows" else row.shape[1]
            batch[name] = values[row[:, :length]].float() * inside[:, :length, None]
        steps = torch.arange(geometry.steps, device=self.home) * geometry.segment
        ends = first_end[:, None] + steps
        batch["valid"] = ((ends >= 0) & (ends < self.last_known[series, None])).float()
        if filled is not None:
            batch["filled"] = filled
        batch["loss_unit"], batch["mase_unit"] = self.loss_unit[series], self.mase_unit[series]
        batch["centre"], batch["unit"] = self.centre[series], self.unit[series]
        batch["series"], batch["origin"] = series, origin
        if self.home == self.device:
            return batch_of(batch)
        return each(batch_of(batch), lambda v: v.pin_memory().to(self.device, non_blocking=True))

    def _values(self, series: Tensor, row: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Conditioned y and its mask at rows [B, R] of the panel, float32."""
        values = self.y[row]
        if self.exact is not None:
            # In float64, as the values are: float32 cannot hold them before they are conditioned.
            centre, unit = self.exact
            values = self.transform.there(values.double(), torch)
            values = (values - centre[series, None]) / unit[series, None]
        known = inside & ~values.isnan()
        return torch.where(known, values, 0.0).float(), known.float()


class WindowStream(IterableDataset[Batch[Tensor]]):
    """Batches drawn from `Windows` by its own seeded generator; resumes where it stood."""

    def __init__(self, windows: Windows, batch_size: int, length: int, seed: int) -> None:
        self.windows, self.batch_size, self.length = windows, batch_size, length
        self.generator = torch.Generator(device=windows.home).manual_seed(seed)

    def __iter__(self) -> Iterator[Batch[Tensor]]:
        for _ in range(self.length):
            yield self.windows.draw(self.batch_size, self.generator)

    def __len__(self) -> int:
        return self.length


def _home(panel: Panel, config: Resolved, device: torch.device) -> torch.device:
    """The device itself, unless the panel is too large for it."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    columns = 1 + 2 * (panel.past.shape[1] + panel.future.shape[1])
    if 4 * panel.rows * columns <= RESIDENT_SHARE * free:
        return device
    return torch.device("cpu")


def _shared(values: Array) -> Tensor:
    """The array as a tensor that reads the same memory, be it mapped from a file."""
    # Torch warns that it could write into a read-only array: nothing here does.
    with no_warnings():
        return torch.from_numpy(np.ascontiguousarray(values))


def _statistics(panel: Panel, config: Resolved) -> dict[str, Array]:
    """Per series, [N] each: centre, unit, the units of the losses, first and last observed row."""
    statistics: list[dict[str, Array]] = []
    season = config.season
    for first, last in blocks(panel.offsets):
        begin, end = panel.offsets[first], panel.offsets[last]
        offsets = panel.offsets[first : last + 1] - begin
        y = np.asarray(panel.y[begin:end], np.float64)
        series = np.repeat(np.arange(last - first), np.diff(offsets))
        t = config.model.y_transform.forward(y)
        known = ~np.isnan(t)
        centre, unit = condition(
            t,
            known,
            series,
            last - first,
            centred=takes_centre(config),
            scaled=takes_unit(config),
            usual=config.model.usual_spread,
        )
        z = (t - centre[series]) / unit[series]
        position = (np.arange(len(y)) - offsets[series])[known]
        last_known = np.full(last - first, -1, np.int64)
        np.maximum.at(last_known, series[known], position)
        first_known = np.full(last - first, np.iinfo(np.int64).max, np.int64)
        np.minimum.at(first_known, series[known], position)
        statistics.append(
            {
                "centre": centre,
                "unit": unit,
                "loss_unit": np.nan_to_num(typical_step(z, offsets, season), nan=1.0),
                "mase_unit": np.nan_to_num(typical_step(y, offsets, season), nan=1.0),
                "first_known": first_known,
                "last_known": last_known,
            }
        )
    return {name: np.concatenate([part[name] for part in statistics]) for name in statistics[0]}


def _calendar(panel: Panel) -> tuple[Array, Array]:
    """Calendar features of every stamp, and per series [N] the row its first stamp is in.

    Series on one grid share their stamps' rows; where they do not, each row has its own.
    """
    freq, origin = panel.freq, panel.start.min()
    ahead = freq.steps_between(np.broadcast_to(origin, panel.start.shape), panel.start)
    span = int((ahead + panel.lengths).max())
    if span <= panel.rows and bool((freq.shift(origin, ahead) == panel.start).all()):
        stamps = freq.shift(np.broadcast_to(origin, span), np.arange(span))
        return calendar_features(stamps, freq, panel.tz), ahead
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    stamps = freq.shift(panel.start[panel.series], position)
    return calendar_features(stamps, freq, panel.tz), panel.offsets[:-1]
