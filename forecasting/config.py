"""Every setting of a forecaster, as frozen pydantic models with units and limits.

A value of ``None`` means "choose from the data"; :func:`forecasting.training.defaults.resolve`
makes a `forecasting.resolved.Resolved` of them, which holds no such None. This module imports no
torch.
"""

from __future__ import annotations

from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from forecasting.parts import CELLS, CLASSICAL, DECODERS
from forecasting.quantiles import DISTRIBUTIONS, TRAINED, Distribution
from forecasting.schema import Covariate as Covariate
from forecasting.schema import Schema as Schema
from forecasting.settings import Positive, Probability, Settings, Share, among
from forecasting.transforms import TRANSFORMS

Ahead = Literal["last", "seasonal", "unknown"]
MOST_MEMBERS = 1000

# By name, of the tables of `forecasting.parts`.
Cell = Annotated[str, AfterValidator(among(CELLS))]
Decoder = Annotated[str, AfterValidator(among(DECODERS))]
Classical = Annotated[str, AfterValidator(among(CLASSICAL))]


class ModelConfig(Settings):
    """The network. ``None`` means chosen from the data."""

    cell: Cell = "gru"
    hidden_size: int = Field(64, ge=1, le=4096)
    layers: int = Field(2, ge=1, le=32)
    dropout: float | None = Field(
        None, ge=0.0, lt=1.0, description="between layers, never inside a cell"
    )
    residual: bool = True
    layer_norm: bool = False
    bidirectional: bool = Field(False, description="needs training.origins = last")
    embedding: bool | None = Field(None, description="a linear layer before the first cell")

    segment: Positive | None = Field(None, description="steps of data read per recurrent step, p")
    window: Positive | None = Field(None, description="values shown to each recurrent step, K >= p")
    steps: Positive | None = Field(None, description="recurrent steps read, S")
    lags: tuple[Positive, ...] | None = Field(
        None, description="each shows the values one lag before the horizon"
    )
    calendar: bool | None = Field(None, description="calendar features; needs time stamps")
    cycle: int | None = Field(
        None, ge=0, description="length of a learned seasonal cycle; 0 for none"
    )

    transform: Annotated[str, AfterValidator(among(TRANSFORMS))] | None = None
    level: Literal["mean", "last"] | None = Field(
        None, description="what is subtracted at each origin: mean of the last season, last value"
    )
    spread: Literal["mad", "none"] | None = Field(
        None, description="what is divided by at each origin: mean absolute deviation, nothing"
    )
    scale_window: Positive | None = Field(None, description="values the spread is taken over, W")
    usual_spread: tuple[float, float] | None = Field(
        None,
        description="deviation of a series that cannot say its own (one value, equal values), in "
        "the transform's units: a share of its level, else an amount; None: the panel's",
    )
    nonnegative: bool | None = Field(
        None,
        description="no forecast below 0 where the history has none; None: if no y is below 0",
    )
    strides: tuple[int, ...] | None = Field(
        None,
        description="steps between the values of series that keep to a longer step, 0 for whole "
        "months, as the training data have them, others are problems of their series; -1: some "
        "never have a value on a weekday, or at an hour, which is noted elsewhere",
    )

    decoder: Decoder = "direct"
    decoder_size: Positive | None = Field(None, description="width of the decoder's MLP")
    skip: bool = Field(True, description="linear path from the inputs to the forecast")
    head: Annotated[str, AfterValidator(among(DISTRIBUTIONS))] = "quantiles"
    quantile_levels: tuple[Probability, ...] = TRAINED
    blend: float | None = Field(
        None, ge=0.0, le=1.0, description="share of classical forecasts in the median; 0: none"
    )
    pool: dict[Classical, Share] | None = Field(
        None,
        description="weights of the classical forecasts in that share, by name, of sum 1; none "
        "named: a Theta forecast of the network's window",
    )
    pool_rows: Positive | None = Field(
        None, description="rows of the end of a history that classical forecasts read"
    )
    samples: int = Field(100, ge=10, le=10_000, description="paths of the recursive decoder")
    encoding: Literal["embedding", "onehot"] | None = Field(
        None, description="of categorical covariates; None: as the schema says, else embedding"
    )
    embedding_size: int = Field(4, ge=1, le=64, description="of each categorical covariate")
    initialisation: Literal["orthogonal", "chrono", "default"] = "orthogonal"
    gate_bias: float = Field(
        1.0, description="start of the LSTM's forget bias and of the GRU's update bias"
    )

    @cached_property
    def counts(self) -> bool:
        """Whether y counts something, from 0 up."""
        return DISTRIBUTIONS[self.head].count_mean is not None

    @cached_property
    def feeds_back(self) -> bool:
        """Whether steps are drawn one by one, each fed back before the next."""
        return DECODERS[self.decoder].feeds_back

    @cached_property
    def told_by(self) -> Distribution:
        """What a forecast's parameters say: sampled paths come back as quantiles."""
        return DISTRIBUTIONS["quantiles" if self.feeds_back else self.head]

    @field_validator("quantile_levels")
    @classmethod
    def _levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if len(levels) % 2 == 0 or any(a >= b for a, b in pairwise(levels)):
            raise ValueError("must rise and hold an odd number of levels around 0.5")
        if len(levels) < 3:
            raise ValueError("must hold three levels or more: intervals are made from them")
        if levels[len(levels) // 2] != 0.5:
            raise ValueError("the middle level must be 0.5")
        return levels

    @field_validator("pool")
    @classmethod
    def _weights(cls, pool: dict[Classical, float] | None) -> dict[Classical, float] | None:
        if pool and abs(sum(pool.values()) - 1.0) > 1e-6:
            raise ValueError(f"must hold weights of sum 1, not {sum(pool.values()):g}")
        return pool

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.window and self.segment and self.window < self.segment:
            raise ValueError(
                f"model.window = {self.window} must be at least model.segment = {self.segment}"
            )
        if self.feeds_back and (self.segment or 1) != 1:
            raise ValueError(
                f"model.decoder = {self.decoder} feeds back one step at a time and needs "
                f"model.segment = 1, not {self.segment}"
            )
        if self.feeds_back and not DISTRIBUTIONS[self.head].drawn:
            heads = " or ".join(name for name, head in DISTRIBUTIONS.items() if head.drawn)
            raise ValueError(
                f"model.decoder = {self.decoder} draws sample paths by a quantile function: it "
                f"needs model.head = {heads}, not {self.head}"
            )
        if self.counts and self.blend:
            raise ValueError(
                f"model.blend = {self.blend} moves quantiles of real values: it does not go with "
                f"model.head = {self.head}"
            )
        if self.bidirectional and not CELLS[self.cell].both_ways:
            raise ValueError(
                f"model.cell = {self.cell} reads in one direction only: "
                "set model.bidirectional = false, or another cell"
            )
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(
                f"model.hidden_size = {self.hidden_size} must be even with "
                "model.bidirectional = true: each direction gets one half"
            )
        if self.counts and self.transform not in (None, "identity"):
            raise ValueError(
                f"model.head = {self.head} counts in original units and needs "
                f"model.transform = identity, not {self.transform}"
            )
        return self


class LossConfig(Settings):
    """Weights of the loss terms; each is averaged over origins, horizon and series.

    ``pinball`` belongs to the quantile head, ``likelihood`` to the parametric heads. The point
    terms act on the median (or mean) and may be mixed in with any head.
    """

    pinball: float = Field(1.0, ge=0.0)
    likelihood: float = Field(1.0, ge=0.0)
    mae: float | None = Field(None, ge=0.0, description="None: chosen by the head")
    mse: float = Field(0.0, ge=0.0)
    huber: float = Field(0.0, ge=0.0)
    smape: float = Field(0.0, ge=0.0)
    mase: float = Field(0.0, ge=0.0)
    more: dict[str, Annotated[float, Field(ge=0.0)]] = Field(
        {}, description="weights of terms that were added to `forecasting.training.losses.TERMS`"
    )

    @field_validator("more")
    @classmethod
    def _new(cls, more: dict[str, float]) -> dict[str, float]:
        for name in more:
            if name in cls.model_fields:
                raise ValueError(f"{name} is no new term: its weight is training.loss.{name}")
        return more


class TrainingConfig(Settings):
    """How the network is trained. ``None`` means chosen from the data."""

    start: Literal["none", "shipped", "tuned"] | None = Field(
        None,
        description="networks of small panels begin from nothing, are those that come with the "
        "package, or these trained on; None: by rule, and by validation inside the history",
    )
    max_steps: Positive | None = Field(None, description="optimiser steps per member")
    minutes: float | None = Field(
        None,
        gt=0.0,
        description="by the clock, what all of a training may take: fewer steps than the rules "
        "choose where this machine would need longer for them; None: no bound",
    )
    batch_size: Positive | None = Field(None, description="windows per step")
    learning_rate: float = Field(3e-3, gt=0.0, le=1.0)
    schedule: Literal["cosine", "one_cycle", "constant"] = "one_cycle"
    warmup: float = Field(0.1, ge=0.0, lt=1.0, description="share of the steps")
    weight_decay: float | None = Field(None, ge=0.0, description="None: chosen from the data")
    clip_norm: float | None = Field(1.0, gt=0.0)
    clip_value: float | None = Field(None, gt=0.0)
    ema: float = Field(0.99, ge=0.0, lt=1.0, description="decay of the averaged weights; 0: off")
    loss: LossConfig = LossConfig()
    loss_mix: tuple[LossConfig, ...] = Field(
        (), description="losses the members take in turn; empty: all take `loss`"
    )
    cell_mix: tuple[Cell, ...] = Field(
        (), description="cells the members take in turn; empty: all take `model.cell`"
    )
    linear_mix: tuple[Literal["trained", "solved"], ...] | None = Field(
        None,
        description="how the members' linear paths come about, in turn: trained with the rest, or "
        "solved by ridge regression as all there is to the median; None: chosen from the data",
    )
    origins: Literal["all", "last"] = Field(
        "all", description="loss at every origin of a window, or at its last one only"
    )
    sampling: Literal["series", "windows"] = Field(
        "series", description="draw series evenly, or in proportion to their length"
    )
    members: int = Field(1, ge=1, le=MOST_MEMBERS)
    seed: int = Field(0, ge=0)
    validation: Literal["refit", "holdout", "none"] = Field(
        "refit",
        description="hold back the end of each history to score members, stop early and calibrate; "
        "then train again on everything (refit; a single judged member forecasts along where it "
        "has read nearly all) or keep what was trained (holdout)",
    )
    validation_windows: Positive | None = Field(None, description="horizons per series held back")
    patience: Positive | None = Field(None, description="epochs without gain before stopping")
    epoch_steps: Positive | None = Field(None, description="optimiser steps between validations")
    precision: Literal["32", "bf16", "tf32"] = "32"
    graphs: bool | None = Field(
        None,
        description="on a GPU, replay a step's forward and backward pass as a CUDA graph; None: "
        "where members are trained one at a time and the network allows it",
    )
    threads: Positive | None = Field(None, description="CPU threads, at most; None: every core")
    at_once: Positive | None = Field(
        None,
        description="members trained at the same time, each with its share of the threads, on a "
        "GPU each in a stream of its own; None: one per thread on a CPU, one on a GPU and with "
        "callbacks",
    )
    noise: float | None = Field(
        None,
        ge=0.0,
        description="std of noise on scaled inputs (of counts, a share); None: chosen",
    )
    unseen: float = Field(
        0.02,
        ge=0.0,
        lt=1.0,
        description="share of windows whose category is hidden, so that `unseen` is learned",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.graphs and (self.at_once or 1) > 1:
            raise ValueError(
                "training.graphs captures one training at a time: set training.at_once = 1"
            )
        return self


def _day_as_text(value: Any) -> Any:
    """YAML reads 2024-11-29 as a date; nobody should have to quote it."""
    return value.isoformat() if type(value) is date else value


def _no_truth(value: Any) -> Any:
    """YAML reads NO, Norway, and ON, Ontario, as truths."""
    if isinstance(value, bool):
        meant = "'NO'" if value is False else "'ON'"
        raise ValueError(f"YAML read {str(value).lower()} there; put the text in quotes: {meant}")
    return value


Day = Annotated[str, BeforeValidator(_day_as_text)]
Place = Annotated[str, BeforeValidator(_no_truth)]


class EventConfig(Settings):
    """Days of one's own, or a feast that moves: what networks are told of them, and around them."""

    days: tuple[Day, ...] = Field(
        (), description="2024-12-24, or ranges, 2024-07-25/2024-09-06, such as school holidays"
    )
    feast: Literal["easter", "orthodox_easter"] | None = None
    offset: int = Field(0, ge=-200, le=200, description="days after the feast: -48 for a carnival")
    before: int = Field(0, ge=0, le=60, description="days before that are told too")
    after: int = Field(0, ge=0, le=60)

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if not self.days and self.feast is None:
            raise ValueError("give days, or a feast")
        return self


class CalendarConfig(Settings):
    """Holidays and events; from the stamps, as covariates known ahead that nobody has to give."""

    country: Place | None = Field(
        None, description="ISO 3166 code: DE, US; of the package holidays"
    )
    subdivision: Place | None = Field(None, description="a part of the country: BY, CA")
    kinds: tuple[str, ...] = Field(("public",), description="of holidays, as the package has them")
    each: bool = Field(False, description="a column for each holiday instead of one for all")
    before: int = Field(0, ge=0, le=60, description="days before a holiday that are told too")
    after: int = Field(0, ge=0, le=60)
    events: dict[Annotated[str, Field(pattern=r"^[\w -]{1,60}$")], EventConfig] = Field({})
    until: int | None = Field(
        None, ge=1, le=2100, description="last year whose days are kept; None: ten after the data"
    )
    stamps: Literal["start", "end"] = Field(
        "start", description="whether the stamp of a week begins it or ends it"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.country is None and not self.events:
            raise ValueError("name a country, or events")
        if self.subdivision is not None and self.country is None:
            raise ValueError("subdivision is of a country: name it")
        return self


class Occasion(Settings):
    """Days of one kind, ISO text in rising order, and how far around them is told."""

    name: str
    days: tuple[str, ...]
    before: int = 0
    after: int = 0


class Occasions(Settings):
    """What a calendar named when a forecaster was trained: kept, so that it never changes.

    Attributes
    ----------
    until : the last day up to which days are known. source : the package and its version.
    stamps : whether a step's stamp begins it or ends it.
    """

    groups: tuple[Occasion, ...]
    until: str
    source: str = ""
    stamps: Literal["start", "end"] = "start"


class ForecasterConfig(Settings):
    """All there is to know to train a forecaster on a panel.

    Attributes
    ----------
    horizon : steps to forecast, in the panel's frequency.
    freq : pandas alias, or ``step`` for integer stamps; None: inferred.
    season : steps per season; None: from the stamps, else found in the values; 1: none.
    calibrate : conformal correction of the quantiles from past origins.
    calendar : holidays and events. occasions : the days it named in training; not to be given.
    ahead : by covariate known ahead, what stands where its values are missing for some steps: the
        last known one, that of a season before, or nothing; it is said, where else it is refused.
    """

    horizon: int = Field(ge=1, le=10_000)
    freq: str | None = None
    season: Positive | None = None
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    calibrate: bool = True
    calendar: CalendarConfig | None = None
    occasions: Occasions | None = None
    ahead: dict[str, Ahead] = Field({})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.model.bidirectional and self.training.origins == "all":
            raise ValueError(
                "model.bidirectional = true reads the window backwards too, so a loss at every "
                "origin would see the future: set training.origins = last"
            )
        if self.model.bidirectional and self.training.graphs:
            raise ValueError(
                "model.bidirectional = true reads windows by their length, which no CUDA graph "
                "can: leave training.graphs out"
            )
        if self.model.feeds_back and self.training.origins == "last":
            raise ValueError(
                f"model.decoder = {self.model.decoder} learns one step ahead at every origin: "
                "set training.origins = all"
            )
        if self.model.bidirectional and self.model.feeds_back:
            raise ValueError("model.bidirectional = true cannot feed back: use decoder = direct")
        return self
