"""What a caller may ask: the checked request, whatever form it came in.

`json_form.read_json` takes the two JSON forms, `arrow_form.read_arrow` takes Arrow; all of them
end in a `Query`, flat arrays that become a `Panel` without a data frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.errors import SeriesProblem
from forecasting.quantiles import ASKED, column_of, level_of
from forecasting.resolved import Resolved
from forecasting.schema import Schema
from serving.errors import Faults, RequestError, show
from serving.reading.together import JOINT_KEYS, Joint
from serving.settings import ServingSettings

MAX_LEVELS: Final = 99
MAX_NAME: Final = 256
OPTION_KEYS: Final = frozenset({"model", "horizon", "quantiles", "extend", "tz"}) | JOINT_KEYS


@dataclass(frozen=True)
class Limits:
    """Where a single request stops being reasonable."""

    series: int = 100_000
    output: int = 20_000_000
    horizon: int = 5_000
    windows: int = 200_000
    draws: int = 50_000_000

    @classmethod
    def of(cls, settings: ServingSettings) -> Limits:
        """Those that a service was set up with."""
        return cls(
            series=settings.max_series,
            output=settings.max_output,
            horizon=settings.max_horizon,
            windows=settings.max_windows,
            draws=settings.max_draws,
        )


@dataclass(frozen=True)
class Spec:
    """What a model expects of a request.

    Attributes
    ----------
    days_until : the last day that its calendar knows; None: it has none. ahead : how missing values
        of covariates known ahead are filled, by name. config : the model's, by which histories that
        are not what they seem are told; None: it was not trained. looked_at : rows of a history
        it reads; 0: nothing is told of histories.
    """

    freq: Frequency
    schema: Schema
    horizon: int
    limits: Limits = Limits()
    days_until: str | None = None
    ahead: Mapping[str, str] = field(default_factory=dict)
    config: Resolved | None = None
    looked_at: int = 0


@dataclass(frozen=True)
class Options:
    """What is asked of all series alike; ``joint`` : of all of them together."""

    horizon: int
    levels: tuple[float, ...] = ASKED
    extend: bool = False
    tz: str | None = None
    joint: Joint | None = None


@dataclass
class Query:
    """N series that can go to the model, and what was wrong with the others.

    Attributes
    ----------
    position : [N] place of each series in the request. ids : of every series of the request.
    y : [T], NaN = missing. sizes : [N]. start : [N]. tz : of the stamps, as `Panel` has it.
    past, future, static : columns by name; ``future`` spans history and horizon.
    problems : series left out, by place in the request.
    notes : what a caller should know of a series that is answered, by place in the request.
    flat : whether the answer takes the flat form.
    labels : static columns of categories, of every series of the request, None where left out.
    """

    options: Options
    ids: list[str]
    position: Array
    y: Array
    sizes: Array
    start: Array
    tz: str | None
    past: Mapping[str, Any] = field(default_factory=dict)
    future: Mapping[str, Any] = field(default_factory=dict)
    static: Mapping[str, Any] = field(default_factory=dict)
    problems: list[tuple[int, SeriesProblem]] = field(default_factory=list)
    notes: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    flat: bool = False
    labels: Mapping[str, list[str | None]] = field(default_factory=dict)

    def panel(self, spec: Spec) -> Panel:
        """The series as the model takes them; ids are their positions here."""
        return Panel.from_arrays(
            np.arange(len(self.sizes)),
            self.y,
            self.sizes,
            self.start,
            spec.freq,
            schema=spec.schema,
            tz=self.tz,
            past=self.past,
            future=self.future,
            future_sizes=self.sizes + self.options.horizon,
            static=self.static,
        )

    def ahead(self, rows: Array, freq: Frequency) -> Array:
        """[M, h] stamps of the steps ahead of the series at rows [M], counted from their first."""
        # Each on the day of its own first stamp, whatever others beside it mean.
        freq = replace(freq, day=0)
        return freq.stamps(self.start[rows], self.sizes[rows], self.options.horizon)

    def keep(self, good: Array) -> Query:
        """The query without the series that were refused, [N] false."""
        rows = np.repeat(good, self.sizes)
        ahead = np.repeat(good, self.sizes + self.options.horizon)
        return replace(
            self,
            y=self.y[rows],
            sizes=self.sizes[good],
            start=self.start[good],
            position=self.position[good],
            past={name: values[rows] for name, values in self.past.items()},
            future={name: values[ahead] for name, values in self.future.items()},
            static={name: values[good] for name, values in self.static.items()},
        )


def remember_labels(query: Query, schema: Schema) -> None:
    """Keep the categories of all series, before any is left out, for what takes them together."""
    if query.options.joint is not None:
        query.labels = {
            c.name: [None if v is None or v != v else str(v) for v in query.static[c.name]]
            if c.name in query.static
            else [None] * len(query.ids)
            for c in schema.static
            if c.type == "categorical"
        }


def read_model_name(body: Mapping[str, Any]) -> str | None:
    """The model asked for; None for the default one."""
    name = body.get("model")
    if name is None or (isinstance(name, str) and 0 < len(name) <= MAX_NAME):
        return name
    faults = Faults()
    faults.add(("model",), "wrong_type", f"must be a model's name, not {show(name)}")
    faults.stop()
    return None


def read_options(body: Mapping[str, Any], spec: Spec, faults: Faults) -> Options:
    """Horizon, levels and the rest; what is wrong goes to ``faults``."""
    extend = body.get("extend", False)
    if type(extend) is not bool:
        faults.add(("extend",), "wrong_type", f"must be true or false, not {show(extend)}")
        extend = False
    zone = read_zone(body, faults)
    return Options(
        horizon=read_horizon(body, spec, extend, faults),
        levels=read_levels(body, faults),
        extend=extend,
        tz=zone,
    )


@dataclass(frozen=True)
class Question:
    """What may be asked of the series of a body.

    Attributes
    ----------
    keys : of the options. read : them, checked; what is wrong goes to the faults.
    together : whether all series may be asked for together, by the keys of `JOINT_KEYS`.
    """

    keys: frozenset[str]
    read: Callable[[Mapping[str, Any], Spec, Faults], Options]
    together: bool = False


def refuse_windows(windows: int, limit: int, why: str, cure: str) -> None:
    """413 where answering would run the network over more windows than one request may."""
    if windows > limit:
        raise RequestError(
            413,
            "too_much_work",
            f"{why}; at most {limit} (GATECAST_MAX_WINDOWS): {cure}",
            extra={"limit": limit},
        )


FORECAST: Final = Question(OPTION_KEYS, read_options, together=True)


def read_zone(body: Mapping[str, Any], faults: Faults) -> str | None:
    """The zone of stamps without an offset, or None."""
    zone = body.get("tz")
    if zone is not None and (type(zone) is not str or not 0 < len(zone) <= MAX_NAME):
        faults.add(("tz",), "wrong_type", f"must be a zone's name, not {show(zone)}")
        return None
    return zone


def read_horizon(body: Mapping[str, Any], spec: Spec, extend: bool | None, faults: Faults) -> int:
    """Steps ahead, the trained horizon where none are asked for; what is wrong is a fault.

    ``extend`` : whether more may be asked for; None: they cannot be.
    """
    horizon = body.get("horizon")
    if horizon is None:
        return spec.horizon
    if type(horizon) is not int:
        faults.add(("horizon",), "wrong_type", f"must be a whole number, not {show(horizon)}")
        return spec.horizon
    if horizon < 1:
        faults.add(("horizon",), "out_of_range", f"must be at least 1, not {horizon}")
        return spec.horizon
    if horizon > spec.horizon and not extend:
        faults.add(
            ("horizon",),
            "horizon_too_long",
            f"{horizon} is beyond {spec.horizon}, what the model was trained for; ask for less"
            + ("" if extend is None else ', or add "extend": true to continue by recursion'),
        )
        return spec.horizon
    if horizon > spec.horizon and (spec.schema.future or spec.days_until is not None):
        faults.add(
            ("horizon",),
            "horizon_too_long",
            f"{horizon} is beyond {spec.horizon}, and a model with known-future covariates, or a "
            "calendar, cannot be extended",
        )
        return spec.horizon
    if horizon > max(spec.limits.horizon, spec.horizon):
        faults.add(
            ("horizon",),
            "horizon_too_long",
            f"{horizon} is beyond {spec.limits.horizon}, this service's limit",
        )
        return spec.horizon
    return horizon


def read_levels(body: Mapping[str, Any], faults: Faults) -> tuple[float, ...]:
    """The quantiles asked for, or the usual ones; what is wrong is a fault."""
    levels = body.get("quantiles")
    if levels is None:
        return ASKED
    if type(levels) is not list or not levels:
        faults.add(("quantiles",), "wrong_type", "must be a list of numbers between 0 and 1")
        return ASKED
    if len(levels) > MAX_LEVELS:
        faults.add(("quantiles",), "out_of_range", f"holds {len(levels)}; at most {MAX_LEVELS}")
        return ASKED
    seen: dict[str, int] = {}
    for k, level in enumerate(levels):
        if type(level) is not float and type(level) is not int:
            faults.add(("quantiles", k), "wrong_type", f"must be a number, not {show(level)}")
        elif not 0.0 < level < 1.0 or level_of(column_of(level)) is None:
            faults.add(("quantiles", k), "out_of_range", f"must lie between 0 and 1, not {level}")
        elif seen.setdefault(column_of(level), k) != k:
            faults.add(("quantiles", k), "duplicate", f"{level:g} is asked for twice")
    return ASKED if faults else tuple(float(level) for level in levels)


def check_size(count: int, options: Options, spec: Spec) -> None:
    """Refuse what would cost more than one request should."""
    limits = spec.limits
    if count > limits.series:
        raise RequestError(
            413,
            "too_many_series",
            f"{count} series in one request; at most {limits.series}: send them in parts",
            extra={"limit": limits.series},
        )
    numbers = count * options.horizon * (len(options.levels) + 1)
    if numbers > limits.output:
        raise RequestError(
            413,
            "answer_too_large",
            f"the answer would hold {numbers} numbers; at most {limits.output}: "
            "ask for fewer series, steps or quantiles at a time",
            extra={"limit": limits.output},
        )
    windows = count * -(-options.horizon // spec.horizon)
    refuse_windows(
        windows,
        limits.windows,
        f"{count} series to step {options.horizon} would run the network over {windows} "
        f"windows of {spec.horizon} steps",
        "ask for fewer series or steps at a time",
    )


def refuse_unknown(
    content: Mapping[str, Any], allowed: frozenset[str], path: tuple[str | int, ...], faults: Faults
) -> None:
    """A key nobody reads is a mistake of the caller's: name it."""
    if content.keys() <= allowed:
        return
    named = ", ".join(sorted(allowed))
    for key in content.keys() - allowed:
        faults.add((*path, key[:MAX_NAME]), "unknown_key", f"unknown key; allowed: {named}")


def refuse_covariate(path: tuple[str | int, ...], name: str, spec: Spec, faults: Faults) -> None:
    """A covariate that the model does not have, in the block of a role that ``path`` ends with."""
    role = str(path[-1])
    names = ", ".join(c.name for c in spec.schema.role(role)) or "none"
    detail = f"no {role} covariate of this model; it has: {names}"
    faults.add((*path, name[:MAX_NAME]), "unknown_covariate", detail)
